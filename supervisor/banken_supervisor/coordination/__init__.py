"""Several supervisors as one: who leads, and what the leader has to write down before it acts.

``store.py`` is all that is asked of what keeps the record (etcd), ``etcd.py`` is that, ``records.py`` says what is
written there, ``leadership.py`` who leads. What decides is pure; the threads that act are the runtime's.
"""
