"""Strangers' code under limits, in guest processes: how each engine is started, and what is said to it over two pipes.

Nothing here does I/O. A guest's words are hostile: they are parsed to typed values, or they are a ``WireError``.

Example:
    engine = engine_named("javascript")
    command = engine.command("/usr/lib/casemate/deno", memory_mib=64)   # for exec
    talk = Conversation(engine)
    send(talk.load(program))                                            # a frame's payload
    assert isinstance(talk.heard(receive()), Loaded)
"""
