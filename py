#!/bin/bash
echo -2 > /proc/self/autogroup
PYTHONPATH=/work/wt/fmt/build/run:/work/wt/fmt/tests exec /work/main/.venv/bin/python -P "$@"
