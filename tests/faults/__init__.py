"""The fault suite: real processes beside a real ``banken run``, and what is done to them."""
