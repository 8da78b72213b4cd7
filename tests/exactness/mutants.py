"""Planted faults of the engine that the judge must catch, so that it is known to be able to fail.

    cd tests && ../.venv/bin/python -m exactness.mutants            every mutant, a table at the end
    cd tests && ../.venv/bin/python -m exactness.mutants 3 17       those two

A mutant is one edit of one file of kernels/cpu. The runner keeps a copy of the sources and a build of its own under
build/mutants; each mutant costs one compiled file and a link. The judge then runs against it in a process of its own,
seed by seed, until a verdict is wrong or MOST cases are through. Exit code 0: all were caught.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOME = ROOT / "build" / "mutants"
MOST = 5000  #: Cases after which a mutant counts as missed: about a minute and a half.
SECONDS = 400  #: The same in time: a mutant may be slow, or never end.
FIRST = 0  #: The first seed.


@dataclass(frozen=True)
class Mutant:
    """A fault: `old` stands once in the file and becomes `new`."""

    file: str
    breaks: str
    old: str
    new: str


MUTANTS = (
    # ---- goals: Boolean algebras ----
    Mutant(
        "constraints/scalars.cpp",
        "not minLength excludes one length too few",
        "if (at < p.lo) out.push_back({static_cast<std::int32_t>(at), p.lo - 1, Langs::kAll});",
        "if (at < p.lo) out.push_back({static_cast<std::int32_t>(at), p.lo, Langs::kAll});",
    ),
    Mutant(
        "constraints/numbers.cpp",
        "the negation of a bound stays as open as the bound",
        "p.has_lo = true, p.lo = a.number, p.lo_open = a.open == sign;",
        "p.has_lo = true, p.lo = a.number, p.lo_open = a.open;",
    ),
    Mutant(
        "constraints/numbers.cpp",
        "an open maximum is a closed one",
        "p.has_hi = true, p.hi = a.number, p.hi_open = a.open == sign;",
        "p.has_hi = true, p.hi = a.number;",
    ),
    Mutant(
        "constraints/numbers.cpp",
        "not multipleOf is multipleOf",
        "        (sign ? p.multiples : p.not_multiples).push_back(a.number);\n",
        "        p.multiples.push_back(a.number);\n",
    ),
    Mutant(
        "constraints/numbers.cpp",
        "draft 4: what is no integer by its text is written as one",
        "p.written = sign ? 1 : 2;",
        "p.written = 1;",
    ),
    Mutant(
        "constraints/inhabitance.cpp",
        "a goal that only false meets counts as empty",
        "case Type::Boolean: return scalars_.literals3(g) & 6;",
        "case Type::Boolean: return scalars_.literals3(g) & 2;",
    ),
    Mutant(
        "constraints/algebra.hpp",
        "oneOf of scalars lets two hold",
        "one = algebra.any({algebra.all({one, no[i]}), algebra.all({none, yes[i]})});",
        "one = algebra.any({one, algebra.all({none, yes[i]})});",
    ),
    Mutant(
        "constraints/algebra.hpp",
        "oneOf of objects and arrays lets two hold",
        "      if (sign) one.push_back(no[j]);\n",
        "",
    ),
    Mutant(
        "constraints/algebra.hpp",
        "else applies whether or not if holds",
        "any({child(a.nodes[0], sign), child(a.nodes[2], sign)})",
        "child(a.nodes[2], sign)",
    ),
    # ---- objects ----
    Mutant(
        "constraints/key_sets.cpp",
        "additionalProperties ignores the patterns",
        "for (Id lang : k.langs) yes = yes && !lexicon_.in_lang(lang, name);",
        "",
    ),
    Mutant(
        "constraints/object.cpp",
        "of two maxProperties the later one counts",
        "  into->hi = std::min(into->hi, from.hi);\n}",
        "  into->hi = from.hi;\n}",
    ),
    Mutant(
        "constraints/object.cpp",
        "const admits further members",
        "parts.push_back(sign ? g->every(others, kFalse) : g->some(others, kTrue));",
        "parts.push_back(sign ? kAny : g->some(others, kTrue));",
    ),
    Mutant(
        "constraints/object_viability.cpp",
        "an object may end before minProperties",
        "if (keys.count < s.lo || keys.count > s.hi) return false;",
        "if (keys.count > s.hi) return false;",
    ),
    Mutant(
        "constraints/object_viability.cpp",
        "a required member may lack room: a dead end",
        "const auto fits = [&] { return count() <= s.hi; };",
        "const auto fits = [&] { return true; };",
    ),
    # ---- arrays ----
    Mutant(
        "constraints/array.cpp",
        "minItems under items that are never valid: a dead end",
        "        ok = inhabitance_.inhabited(base_of(row, i));\n    } else if (const auto counted",
        "        ;\n    } else if (const auto counted",
    ),
    # ---- residuals ----
    Mutant(
        "constraints/partial_value.cpp",
        "the residual forgets a clause that nothing can meet any more",
        "    if (alive.empty()) return folded_[key] = kNever;\n",
        "    if (alive.empty()) continue;\n",
    ),
    Mutant(
        "constraints/partial_value.cpp",
        "a clause decides nothing about the member that is being written",
        "    if (choices.empty()) {\n      rest.clauses.push_back(c);",
        "    {\n      rest.clauses.push_back(c);",
    ),
    Mutant(
        "constraints/partial_value.cpp",
        "inside of clauses what a required name must meet is not asked",
        "      if (in_class(r) && named(r)) out.here = goals_.conj(out.here, r.goal);\n    if (out.here",
        "      if (in_class(r) && named(r)) continue;\n    if (out.here",
    ),
    Mutant(
        "constraints/partial_value.cpp",
        "minContains counts what may be no hit",
        "{true, c.lo > 0 ? c.goal : kTrue, counted(c.lo - 1,",
        "{true, kTrue, counted(c.lo - 1,",
    ),
    Mutant(
        "constraints/partial_value.cpp",
        "maxContains lets one more in",
        "      if (hi < 0) return kNever;\n",
        "      if (hi < -1) return kNever;\n",
    ),
    Mutant(
        "constraints/partial_value.cpp",
        "the spans of prefixItems never end",
        "    if (s.to != kInf) --s.to;\n",
        "",
    ),
    Mutant(
        "constraints/partial_value.cpp",
        "a value may fail what its completion needs: a dead end",
        "viable(most) == kFalse))\n      return out = kFalse;",
        "viable(most) == kFalse))\n      return out = kTrue;",
    ),
    # ---- uniqueItems ----
    Mutant(
        "constraints/unique_items.cpp",
        "distinct representatives never make room",
        "if (at != taken.end() && !place(at->second)) continue;",
        "if (at != taken.end()) continue;",
    ),
    Mutant(
        "constraints/unique_items.cpp",
        "an item may repeat one that was written",
        "  for (Id* known : {&row.unique, &row.repeat}) {",
        "  for (Id* known : {&row.repeat}) {",
    ),
    # ---- unevaluated ----
    Mutant(
        "constraints/unevaluated.cpp",
        "then annotates although if fails",
        "branch(a.nodes[1], a.nodes[0], true);",
        "walk(a.nodes[1], under);",
    ),
    Mutant(
        "constraints/unevaluated.cpp",
        "branches of anyOf and oneOf annotate although they fail",
        "for (Id n : a.nodes) branch(n, n, true);",
        "for (Id n : a.nodes) walk(n, under);",
    ),
    # ---- engine ----
    Mutant(
        "automaton/viability.cpp",
        "keys come in any order",
        "!is_past(f, name) && may_write(f, cls, name)",
        "may_write(f, cls, name)",
    ),
    Mutant(
        "automaton/viability.cpp",
        "a declared key may be written again",
        "if (cls >= 0 && !bit(f.seen, name) && !is_past",
        "if (cls >= 0 && !is_past",
    ),
    Mutant(
        "automaton/key_reader.cpp",
        "an undeclared key may be written again",
        "if (from.state == Texts::kDead || (from.xlo < from.xhi && is_exact(f.extras->texts[from.xlo])))",
        "if (from.state == Texts::kDead)",
    ),
    Mutant(
        "automaton/stepper.cpp",
        "a comma where no key is left",
        "viability_.any_may_come(f) && move(Phase::Key)",
        "move(Phase::Key)",
    ),
    Mutant(
        "automaton/stepper.cpp",
        "a comma where no item is left",
        "viability_.may_have_more(f) && move(Phase::Value)",
        "move(Phase::Value)",
    ),
    Mutant(
        "automaton/stepper.cpp",
        "the space behind a comma may be left out",
        "if (!gap_is_done(options_, f, from.gap)) return false;",
        "",
    ),
    Mutant(
        "automaton/whitespace.hpp",
        "tabs behind spaces",
        "if (gap == kNewline && byte == '\\t') return kTabs + 1;",
        "if (gap >= kNewline && gap < kTabs && byte == '\\t') return kTabs + 1;",
    ),
    Mutant(
        "automaton/stepper.cpp",
        "when a value ends, all that was to be told of it counts as met",
        "l ^= !survives(",
        "l ^= 0 & !survives(",
    ),
    Mutant(
        "automaton/stepper.cpp",
        "a container closes for the one alternative that came last",
        "    for (Id parent : levels_.labels(a.parents)) labels.push_back(parent);\n",
        "    labels.clear();\n    for (Id parent : levels_.labels(a.parents)) labels.push_back(parent);\n",
    ),
    Mutant(
        "automaton/key_reader.cpp",
        "behind an undeclared key come declared ones",
        "    next.rank = kInf;\n    // The text is written backwards, since KeyText",
        "    // The text is written backwards, since KeyText",
    ),
    # ---- lexemes ----
    Mutant(
        "lexers/json_string.cpp",
        "a string may end before minLength",
        "if (b.lo <= read && (b.hi == kInf || read <= b.hi) && langs_.accepts(c.lang))",
        "if ((b.hi == kInf || read <= b.hi) && langs_.accepts(c.lang))",
    ),
    Mutant(
        "lexers/json_string.cpp",
        "a character that has begun does not count towards maxLength",
        "langs_.meets(q, lo - 1, hi == kInf ? kInf : hi - 1)",
        "langs_.meets(q, lo - 1, hi)",
    ),
    Mutant(
        "lexers/json_string.cpp",
        "hexadecimal digits in capitals are no escape",
        "if (byte >= 'A' && byte <= 'F' && spelling == Spelling::Any) return byte - 'A' + 10;",
        "",
    ),
    Mutant(
        "regex/regex.cpp",
        "a sequence may be empty when its first part may",
        "n.nullable = a.nullable && b.nullable;",
        "n.nullable = a.nullable;",
    ),
    # ---- numbers ----
    Mutant(
        "lexers/json_number.cpp",
        "an open bound is a closed one",
        "s.lo_open = negative ? p.hi_open : p.lo_open, s.hi_open",
        "s.lo_open = false, s.hi_open",
    ),
    Mutant(
        "lexers/json_number.cpp",
        "canonical spelling writes -0",
        "if (canonical && negative && !s.has_lo) s.has_lo",
        "if (false) s.has_lo",
    ),
    Mutant(
        "lexers/json_number.cpp",
        "a multiple of what is excluded is written",
        "[&q](const Natural& m) { return natural::mod(q, m).empty(); }))",
        "[](const Natural&) { return false; }))",
    ),
    # ---- masks ----
    Mutant(
        "masks/fill_mask.cpp",
        "what follows a lexeme inside of a token is not walked",
        "    below(rest, 0, after, sink);\n",
        "",
    ),
    Mutant(
        "masks/mask_filler.hpp",
        "a budget is one token short",
        "return left >= 0 && 1 + left <= budget;",
        "return left >= 0 && 1 + left < budget;",
    ),
    Mutant(
        "automaton/distance.cpp",
        "what is behind a value is told on sight where members hang on each other",
        "!levels_.info(f.level).plain ||\n      levels_.value_goal(f.due) < 0)",
        "levels_.value_goal(f.due) < -1)",
    ),
    Mutant(
        "masks/fill_keys.cpp",
        "the beginning of a name that is no longer writable stays allowed",
        "        if (name == longer.hi) continue;\n",
        "",
    ),
    Mutant(
        "masks/mask_filler.hpp",
        "a row is held for every budget, were it ruled out by one",
        "suffices(yes ? 1 + left : kNoLimit);",
        "suffices(1);",
    ),
    Mutant(
        "masks/fill_keys.cpp",
        "a token that completes a written key stays allowed",
        "if (!named && !extra) continue;\n      clear(i);",
        "if (!named && !extra) continue;",
    ),
    Mutant(
        "masks/fill_mask.cpp",
        "a nearly full string takes tokens of one character too many",
        "sink.add(sink.masks.at_most(mask, b.hi - at.chars));",
        "sink.add(sink.masks.at_most(mask, b.hi - at.chars + 1));",
    ),
    Mutant(
        "masks/lexeme_masks.cpp",
        "tokens that fill a string to the brim are left out",
        "chars - !group.whole",
        "chars - 1",
    ),
    Mutant(
        "masks/plain_tokens.cpp",
        "characters of a class that lead elsewhere are taken for the others",
        "if (v_.is_plain(*t)) reading_.draft.all.remove(*t);",
        "",
    ),
    Mutant(
        "masks/classify_tokens.cpp",
        "tokens that close a listed text are left out",
        "if (words[i].size() == behind + length) mark('\"'), ++i;",
        "if (words[i].size() == behind + length) ++i;",
    ),
    Mutant(
        "lexers/outline.hpp",
        "tokens that go on behind a quote with a colon are left out",
        "    case ':':\n    case ' ':",
        "    case ' ':",
    ),
    Mutant(
        "automaton/state_key.cpp",
        "a completion forgets which required names were written",
        "static_cast<std::int64_t>(few ? f.seen[i] & info.asked_bits[i] : f.seen[i]);",
        "static_cast<std::int64_t>(few ? 0 : f.seen[i]);",
    ),
    Mutant(
        "automaton/frame_store.cpp",
        "frames are equal at whatever level",
        "return {f.level, f.cls",
        "return {-1, f.cls",
    ),
    Mutant(
        "automaton/frames.hpp",
        "a frame hands its masks on to the next one",
        "    out.rows = nullptr;\n",
        "",
    ),
    Mutant(
        "automaton/stepper.cpp",
        "one item less counts",
        "    out = std::max(out, row.hi == kInf ? row.lo : kInf);",
        "    out = std::max(out, row.hi == kInf ? row.lo - 1 : kInf);",
    ),
    Mutant(
        "masks/mask_cache.cpp",
        "tokens that were cleared last stay in a mask that is kept",
        "ids[out.in + out.out++] = t;",
        "ids[out.in + out.out] = t;",
    ),
    Mutant(
        "automaton/state_key.cpp",
        "masks do not tell apart how far a text is",
        "  out->chars = at.lex == Lex::Literal ? at.chars : is_key || at.lex == Lex::Text ? chars_of(at) : 0;\n",
        "",
    ),
    Mutant(
        "masks/token_distance.hpp",
        "a completion is followed along bytes that are not its own",
        "from.kind == Completions::Link::Byte && from.byte == byte ? from.next : -1",
        "from.kind == Completions::Link::Byte ? from.next : -1",
    ),
)


# ---- a scratch build -------------------------------------------------------------------------------------------------


def sources() -> Path:
    """Bring the copy of the sources up to date, touching only what differs, and return its folder."""
    copy = HOME / "source"
    wanted = [ROOT / "CMakeLists.txt", *(file for file in (ROOT / "kernels" / "cpu").rglob("*") if file.is_file())]
    for file in wanted:
        _write(copy / file.relative_to(ROOT), file.read_text())
    kept = {file for file in (copy / "kernels" / "cpu").rglob("*") if file.is_file()}
    for stale in kept - {copy / file.relative_to(ROOT) for file in wanted}:
        stale.unlink()
    return copy


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def build() -> None:
    """Build the copy, without optimising much, and put the module into a package of links."""
    folder = HOME / "build"
    if not (folder / "build.ninja").exists():
        flags = ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -DNDEBUG"]
        flags.append(f"-DPython_EXECUTABLE={sys.executable}")
        _tool("cmake", "-S", str(HOME / "source"), "-B", str(folder), "-G", "Ninja", *flags)
    _tool("ninja", "-C", str(folder))
    package = HOME / "package" / "guard"
    shutil.rmtree(package, ignore_errors=True)
    (package / "kernels").mkdir(parents=True)
    for file in (ROOT / "guard").iterdir():
        if file.name not in ("schemas", "kernels"):
            (package / file.name).symlink_to(file)
    (package / "schemas").symlink_to(ROOT / "schemas")
    for file in (ROOT / "kernels").iterdir():
        if not file.name.startswith("_native") or file.suffix == ".pyi":
            (package / "kernels" / file.name).symlink_to(file)
    for module in folder.glob("_native*.so"):
        shutil.copy(module, package / "kernels" / module.name)


def _tool(*command: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {(done.stdout + done.stderr)[-3000:]}")


def judged() -> tuple[str, int, float]:
    """Run the judge against the build: what caught it (empty: nothing did), after how many cases and seconds."""
    # -S: an editable install would find its own kernel first.
    path = [HOME / "package", ROOT / "tests", *(p for p in sys.path if p and Path(p).is_dir())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-S", "-m", "exactness.mutants", "--judge"]
    began = time.monotonic()
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        lines = child.communicate(timeout=SECONDS)[0].splitlines()
    except subprocess.TimeoutExpired:
        child.kill()
        lines = [*child.communicate()[0].splitlines(), json.dumps(["does not end"])]
    spent = time.monotonic() - began
    at = max((int(line) for line in lines if line.isdigit()), default=0)
    if lines and not lines[-1].isdigit():
        return json.loads(lines[-1])[0], at, spent
    return f"dies with exit code {child.returncode}", at, spent


def hunt() -> None:
    """Judge cases, printing each one's number, until one is wrong; then print what was. Runs in the child."""
    from exactness.judge import WrongError, case, check

    import guard

    for number in range(MOST):
        print(number + 1, flush=True)
        try:
            check(case(FIRST + number))
        except guard.SchemaError:
            continue  # a limit is met, or something is not supported yet: that catches nobody
        except WrongError as error:
            print(json.dumps([str(error).partition("): ")[2][:160]]))
            return
    print(json.dumps([""]))


def main(numbers: list[int]) -> int:
    """Plant mutants one by one, and print a table."""
    copy = sources()
    build()
    control = judged()
    print(f"without a mutant: {control[0] or 'nothing'} found in {control[1]} cases, {control[2]:.0f} s", flush=True)
    print("\n| # | mutant | cases | seconds | caught by |\n|--:|:--|--:|--:|:--|", flush=True)
    missed = 0
    for number, mutant in enumerate(MUTANTS, 1):
        if numbers and number not in numbers:
            continue
        path = copy / "kernels" / "cpu" / mutant.file
        text = path.read_text()
        path.write_text(text.replace(mutant.old, mutant.new))
        try:
            build()
            caught, cases, seconds = judged()
        finally:
            path.write_text(text)
        missed += not caught
        what = (caught or "**not caught**").replace("|", "\\|")
        print(f"| {number} | {mutant.file}: {mutant.breaks} | {cases} | {seconds:.1f} | {what} |", flush=True)
    return int(missed > 0 or bool(control[0]))


if __name__ == "__main__":
    if sys.argv[1:] == ["--judge"]:
        hunt()
    else:
        sys.exit(main([int(number) for number in sys.argv[1:]]))
