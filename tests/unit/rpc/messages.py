"""Prints a macro that names the descriptor of every message in the given generated headers."""
import re
import sys

names = []
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as header:
        names += re.findall(
            r"^extern const ProtobufCMessageDescriptor (\w+);", header.read(), re.MULTILINE)
if not names:
    sys.exit("no message found in " + ", ".join(sys.argv[1:]))
print("#define ALL_MESSAGES(X) \\")
print(" \\\n".join("    X(%s)" % name for name in names))
