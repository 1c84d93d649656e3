#!/usr/bin/env python3
"""Adds the contract's metadata to a core module that was built without bindings, so that vouchd can tell what it is.

    python3 embed.py PLUGIN.wasm...

A file that has the metadata is left as it is. What is added is the world `plugin` of wit/check.wit 0.1 (process, tcp, http,
log, memo, simple) as `wasm-tools component embed` encodes it; that does the same for a world of your own.
"""

import base64
import pathlib
import sys
import zlib

NAME = b"component-type:vouchd"
WORLD = """
eNp1lMFy2zYQhncBkJTkuOPpIW3yDlTsdtrJ9OTo0ueAiKWEmAQYAJStJpm8T5+yC4puLM3koqGAxe6Hf/8F6NhfAwK8ef1oU934fvCOXKrJNd
5Yt1NQ/bvCDwI//IybFfZKDTpG9aiDU622XdHqsUscdaBgbJMkAAapnO4pFgfdjTSq0dkUFZQ9pWAbCQIfvuAgMajnU1hxeNQ7iqU2H8eYVHUK
jgWfCzT4wJlL/FSVhpwlgxGqZHvyYwKoArVjJAOwGl2g6LtD/iNTF3Ocdcxh85HCpz0F/lBwNQS/pZpC8EHCQsKvBz82e/NXs6fm4V06DhTvb9
d369sCBF/qZTxuroQUiJdZAB8iX2q6vKia3nTWkVgM1tSt7UgohgxCQfFppHCUwApIybvHk1wl37/u46MCZV3rJRQ4lPgRK0S8x9MhBQvebq0z
uJTw9oyZWRpWcaYWuFn+gHL4ikGsGu8cNakeuaLRSWcwVrqbwB4EF1a5cKG0MSGqSM6IYnSJe77s9VO9PSaKx9XcBQY/QskpplpYSXh9LmgzzG
ASN9c/APMiRhxEBsxKrrJj9t5EOYYuVnvShkKUautZspeFf5p4ePV/qC7WbC3bHr/J6Gxx0/qu8491IGMDXzp+vQnE3ahnEax331T2EYscJ6cF
Vcak0xg/X9RdJJ90N6kGCzYbz0skdhDrtZwaJTlLBSuWoqXU7PFKwi9nUuxTetZC4UbxTBWGtuNu6vo0WcWkCGfo6EBdVuZenL6/DwqyiWXndy
gupebFOX2BmyKLeQ+Qo3eUJsKp3TAliLwkLgF76v2cocRNmU9MBoV/FFzPLmPl2AuYyU4GOTMCB15xx5/lzVXF1MTLqEUWo96dKN6cUUTbDx3N
HFWewfkhmI29ePEyfLfO89tTDjroPsrldjScPtfjBjNPoic+oLhdiDG3q0lPxeTcqSxW6mKspl8KM8hSXWAO3biz7rTLt36FUJ6WmAr+XrJcZm
zYPvhqVo4Mu1Rcnz231e36tz/er3+/yatbnu4duTrwO1jerv+8W9/9Bz2mi3M=
"""


def number(value):
    """LEB128."""
    encoded = b""
    while value >= 128:
        encoded += bytes([value & 127 | 128])
        value >>= 7
    return encoded + bytes([value])


def main():
    body = number(len(NAME)) + NAME + zlib.decompress(base64.b64decode(WORLD))
    section = b"\0" + number(len(body)) + body
    for file in map(pathlib.Path, sys.argv[1:]):
        module = file.read_bytes()
        if module[:8] != b"\0asm\1\0\0\0":
            sys.exit(f"{file}: expected a core module (bytes 00 61 73 6d 01 00 00 00), found {module[:8].hex(' ')}")
        if b"component-type" not in module:
            file.write_bytes(module + section)


if __name__ == "__main__":
    main()
