"""Engines for strangers' code: how each is started in a guest process, and the frames it exchanges over two pipes.

Nothing here does I/O. What a guest says is hostile: it is parsed to typed values, or refused with ``WireError``.

Example:
    engine = engine_named("javascript")
    command = engine.command("/usr/lib/casemate/deno", memory_mib=64)   # for exec
    talk = Conversation(engine)
    send(talk.load(program))                                            # a frame's payload
    assert isinstance(talk.heard(receive()), Loaded)
"""
