"""Code that runs where a package can't be imported."""

#: Runs `sys.argv[2]` without the package `sys.argv[1]`, and prints the message of what it raises.
WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
try:
    exec(sys.argv[2])
except Exception as error:
    print(error)
"""
