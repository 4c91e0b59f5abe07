"""The table [cluster]: of which cluster this supervisor is a member, and where its store is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from banken.address import ADDRESSES_MAX
from banken_supervisor.actions.options import Name, PathField, SecretField, Table, seconds
from banken_supervisor.config.fields import Endpoint, ReachedField, Text, is_loopback
from banken_supervisor.coordination.leadership import TTL_MAX, TTL_MIN
from banken_supervisor.coordination.settings import BRAKE_DEFAULT, TTL_DEFAULT, ClusterSettings

BRAKE_MAX = 3600.0


class ClusterTable(Table):
    """Several supervisors as one, which keep what they did in etcd. Read at start."""

    name: Name = Field(description="Of the cluster; all its members have the same.")
    member: Name = Field(description="Of this supervisor in it; no other one has the same.")
    endpoints: Annotated[list[Endpoint], Field(min_length=1, max_length=ADDRESSES_MAX)] = Field(
        description='The members of etcd: ["https://HOST:2379", …].'
    )
    ca: PathField | None = Field(None, description="Who signed etcd's certificates, PEM; default: the system's.")
    cert: PathField | None = Field(None, description="This client's own certificate, PEM.")
    key: PathField | None = Field(None, description="The key of it, PEM.")
    user: Text | None = Field(None, description="Of etcd, where it has users.")
    password: SecretField | None = Field(None, description='Its password: "${ETCD_PASSWORD}".')
    ttl: Annotated[float, *seconds(TTL_MIN, TTL_MAX)] = Field(
        TTL_DEFAULT, description="A leader that is not heard of for so long is followed by another one."
    )
    brake: Annotated[float, *seconds(0.0, BRAKE_MAX)] = Field(
        BRAKE_DEFAULT,
        description="Where more than half of the workers, and at least ten, fall silent within ttl: for how long "
        'actions on them wait, but for log, notify, webhook and dump; "0s": not at all.',
    )
    address: ReachedField | None = Field(
        None, description="Where the other members reach this one; default: the first of [supervisor] listen."
    )
    insecure: bool = Field(False, description="Allow http:// to another host: whoever listens there can read all.")

    @model_validator(mode="after")
    def _whole(self) -> ClusterTable:
        for one, other in (("cert", "key"), ("user", "password")):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise ValueError(f"{one} and {other} are given together")
        far = [each for each in self.endpoints if each.startswith("http:") and not is_loopback(each)]
        if far and not self.insecure:
            raise ValueError(f"{far[0]} is neither https:// nor of this host: allowed with insecure = true")
        for_tls = [each for each in ("ca", "cert") if getattr(self, each) is not None]
        if for_tls and all(each.startswith("http:") for each in self.endpoints):
            raise ValueError(f"{for_tls[0]} is for https:// endpoints, and all that are named are http://")
        if len(set(self.endpoints)) < len(self.endpoints):
            raise ValueError("an endpoint stands there twice")
        return self

    @property
    def settings(self) -> ClusterSettings:
        """As a supervisor takes it."""
        return ClusterSettings(
            self.name, self.member, tuple(self.endpoints), self.ttl, self.ca, self.cert, self.key, self.user,
            "" if self.password is None else self.password.reveal(), self.address, self.brake,
        )  # fmt: skip
