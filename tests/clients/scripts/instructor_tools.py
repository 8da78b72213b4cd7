"""instructor, with schemas as tools."""

import instructor
from instructor_client import run

run(instructor.Mode.TOOLS)
