"""Real programs under a real ``banken run``: uvicorn, gunicorn, Celery, RQ, dramatiq, huey, APScheduler, pools.

They end as they do in production. ``pytest tests/field --rounds 20`` takes each case twenty times; CI takes it
once.
The packages: ``pip install -e '.[test,field]'``, and redis-server.
"""
