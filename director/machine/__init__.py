"""Machines, reached over SSH: sessions, the agent's calls, a pool. The only layer that speaks SSH; it keeps nothing and plans nothing.

In reading order: `endpoint.py` (where a machine is and how it is known), `session.py` (one connection), `channel.py` (the agent's
JSON lines), `agent.py` (its actions as typed calls), `machines.py` (the pool), `package.py` (the agent as a zip file), `keys.py`.

    machines = Machines(lambda endpoint: Agent(connect(endpoint, private_key_pem)))
    state = machines.get(endpoint).get_state()
"""
