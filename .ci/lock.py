"""Turn pip's resolution report (standard input) into requirements.lock (standard output)."""

import json
import sys

print("# Every dependency, pinned; made by `make lock`. No hashes: the build of torch differs by machine.")
for item in sorted(json.load(sys.stdin)["install"], key=lambda i: i["metadata"]["name"].lower()):
    name, version = item["metadata"]["name"].lower().replace("_", "-"), item["metadata"]["version"]
    if name != "nightforge":
        print(f"{name}=={version.partition('+')[0]}")  # without the local tag of a build, such as +cpu
