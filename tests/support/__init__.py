"""What tests are made of. A test imports from here, and nothing here imports a test.

stack          the whole of Baton, every part a process of its own
fork_server    how those processes start in a tenth of a second
servers/       Redis, RabbitMQ, git, proxies, a collector of traces, HTTP servers that do as told
providers/     authorization servers: scripted, npm's `oidc-provider`, the embedded one's tenant
signing_in/    signing in as a browser, as a terminal, and by a device
worker/        the API as a worker sees it, and a worker's parts, one by one
terminal/      the `baton` command in a pipe or on a terminal
waiting        waiting for something, with an end
definitions    the names in a module, which documents mention
event_stream, repository, needs, npm, settings_table    as they say
"""
