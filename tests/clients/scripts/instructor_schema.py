"""instructor, with schemas as response_format."""

import instructor
from instructor_client import run

run(instructor.Mode.JSON_SCHEMA)
