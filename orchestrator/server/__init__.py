"""The API server: one set of verbs over every kind, on top of the replicated store.

The path of a request, in the order of the files: `grpc_door` (identity, bytes in and out), `registry` (the verbs over
one object, one store transaction each; `batch` for many) and `listing` (those over collections), `rules`, `deletion`,
`scale` and `allocation` (what the outcome is: pure decisions), `watching` (changes, encoded once for all who asked),
`streams` (bytes to and from containers). `service` starts it all.
"""
