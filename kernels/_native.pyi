"""The mask engine: vocabularies, engines, matchers. Use guard.Vocabulary and guard.compile.

Stubs of the module that kernels/cpu/python/module.cpp and apply.cpp make.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, final, overload

_T = TypeVar("_T")

@final
class Vocabulary:
    """The bytes of each token as a trie, with the masks that all schemas share. Any number of threads may use it."""

    def __init__(
        self, tokens: Sequence[bytes], eos: Sequence[int], special: Sequence[int], alphabet: bytes | None = None
    ) -> None:
        """Take the tokens' bytes by id, the tokens that end a sequence, and those that are never text.

        ValueError where an id is not in the vocabulary, a token is longer than 60,000 bytes, or a byte of `alphabet`
        (None: every byte that JSON text may need) has no token of its own.
        """

    @property
    def size(self) -> int:
        """Number of token ids."""

    @property
    def eos(self) -> list[int]:
        """The tokens that end a sequence."""

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""

    def limit(self, masks: int, rows: int) -> None:
        """Keep at most so many bytes of lexemes' masks (36 MB unless told), and of each schema's whole ones (4 MB)."""

    def token_bytes(self, arg: int, /) -> bytes:
        """Return the bytes given for a token; IndexError where there is no such token."""

    def greedy(self, data: bytes) -> list[int]:
        """Cut bytes into tokens, always the longest that fits."""

@final
class EngineOptions:
    """How an engine reads and writes JSON, and its limits."""

    def __init__(self, key_order: int, whitespace: int, spelling: int, limits: Mapping[str, float]) -> None:
        """`key_order`: 0 schema, 1 any; `whitespace`: 0 spaced, 1 compact, 2 flexible, 3 any; `spelling`: 0 canonical,
        1 any. `limits` is a dict of the fields of guard.Limits.
        """

class Engine:
    """One schema's automaton, built as matchers reach it. Any number of threads may use it."""

    def __init__(
        self,
        lower: Callable[[list[int]], list[list[tuple[Any, ...]]] | Drafts],
        fail: Callable[[str, int, str, int], Exception],
        root: int,
        options: EngineOptions,
        around: tuple[list[list[int]], list[tuple[tuple[Any, ...], int]], list[tuple[int, int, int]], bool, list[int]]
        | None = None,
        apart: bool = False,
    ) -> None:
        """Make an engine that asks `lower` for the records of nodes never lowered before.

        schemas/ops.py has their shape. `fail(limit, node, detail)` returns the exception to raise where a limit is met.
        `around`: a format's net (schemas/structural/nets.py): points, arcs, exits, whether values must be told from
        text, and the arcs' copies. `apart`: with tables of its own, which go with it.
        """

    def matcher(
        self, vocabulary: Vocabulary, symbols: list[list[int]] | None = None, special: Sequence[int] = ()
    ) -> Matcher:
        """Return a matcher at the start of a value, or of a turn. `symbols`: of each the tokens that stand for it.

        Of a symbol that stands for any token they are those for which it does not. `special` tokens are such, too.
        """

    def start(self) -> None:
        """Expand the start of a value ahead of need."""

    def dead_parts(self, arcs: list[int], exits: list[int]) -> list[int]:
        """Return a format's points from which nothing leads to the end, and ~exit of each value that nothing meets.

        Only these arcs and exits are looked into: the others have a text.
        """

    @property
    def nbytes(self) -> int:
        """Memory held for this schema, in bytes."""

    def stats(self) -> dict[str, int]:
        """Return how many states this schema has, and how many languages, texts and numbers all schemas share."""

@final
class Explorer:
    """Every expansion that decoding may ask of an engine, made ahead of need: goals, shapes, languages."""

    def __init__(self, engine: Engine, most: int) -> None:
        """Start with nothing to do. Strings or keys of which a node needs more than `most` states are not followed."""

    def add(self, node: int) -> None:
        """Ask for a node's expansion, and for all that follows from it."""

    def run(self, seconds: float) -> bool:
        """Go on for about so long; True when nothing is left. What met a limit, a SchemaError, is not tried again."""

    def stats(self) -> dict[str, int]:
        """Return how many goals, objects, arrays and languages were expanded, the languages' states, and what waits."""

    def large(self) -> list[int]:
        """Return the nodes whose strings or keys need more than `most` states."""

    def empty(self) -> list[int]:
        """Return the nodes that a member, an item or the root must meet, and that no value does."""

@final
class Matcher:
    """One generation under a schema. It belongs to one thread at a time.

    Any method may raise SchemaError where a limit is met; the matcher is then as it was. A call that takes long gives
    the GIL back in the meantime; another thread that uses the matcher then gets a RuntimeError. While its row is
    pending (`fill_bitmasks`), `is_finished` answers at once, what moves it (`accept`, `rollback`, `reset`) gives the
    row up, and what else is asked waits for the row.
    """

    def fill_bitmask(self, bitmask: Any, row: int = 0, remaining: int | None = None) -> None:
        """Write which tokens may come next into a row of `bitmask`: int32[rows, words] or int32[words], NumPy or torch.

        Bit t % 32 of word t // 32 is token t; all other bits of the row become 0. With `remaining`, only tokens after
        which a valid end is within `remaining` tokens, this one included.
        """

    def fill_bitmask_by_bytes(self, bitmask: Any, remaining: int | None = None) -> None:
        """Write the same into row 0 in the slow way: each token is read byte by byte, and nothing is remembered.

        Tests hold fill_bitmask to it.
        """

    def is_scarce(self) -> bool:
        """Whether the mask filled last may lack tokens for the sake of `remaining` alone; False: none. O(1)."""

    def accept(self, token: int) -> bool:
        """Take a token; False, and unchanged, where it is not allowed. An end-of-sequence token finishes."""

    def accept_bytes(self, data: bytes) -> bool:
        """Take bytes as one step; False, and unchanged, where no valid value begins so."""

    def is_format(self) -> bool:
        """Whether it reads the turns of a format. O(1)."""

    def can_stop(self) -> bool:
        """Whether the value is complete: end-of-sequence is allowed here."""

    def is_finished(self) -> bool:
        """Whether an end-of-sequence token was accepted."""

    def forced_bytes(self, without: bytes = b"") -> bytes:
        """Return what every completion begins with from here: at most 4,096 bytes of it.

        With `without`, what every completion begins with whose first byte is none of these. O(open containers) where
        any matcher of the compiled schema was asked at an equal place before, else O(256 bytes).
        """

    def spans(self) -> list[tuple[int, int, int, int]]:
        """Return what each part of a turn was read as: 0 an arc, 1 a value's exit, 2 a symbol's; which; from; to.

        Bytes, in order. O(bytes accepted).
        """

    def closed_texts(self, most: int) -> list[bytes]:
        """Return the texts of the value at hand, from here to its end, where they are a closed choice; sorted.

        That are quotations, with the quote that ends them, and numbers of a finite set, with null where that may come,
        too. None where the choice is not closed, or of more than `most`. An item that a list has already may be
        among them.
        """

    def distance(self) -> int:
        """Return how many tokens surely suffice to finish, end-of-sequence included; -1 where nothing is valid."""

    def key(self) -> bytes:
        """Return what the rest depends on: matchers of one engine and vocabulary with equal keys go on alike.

        b"" where no value is valid, b"." once finished. O(open containers, and keys and items that are compared).
        """

    def lexeme(self) -> int:
        """Return a number for the string or number under way, -1 for none; equal ones have equal classes."""

    def fill_classes(self, classes: Any) -> int:
        """Write the class of each token into uint8[size], 0 for none, and return how many classes there are.

        Allowed tokens of one class lead to one key. O(size).
        """

    def rollback(self, steps: int = 1) -> None:
        """Take back the last steps: tokens, or calls of accept_bytes. ValueError where there are not so many."""

    def reset(self) -> None:
        """Go back to the start of a value."""

    def copy(self) -> Matcher:
        """Return a matcher in the same state, with the same steps to roll back, that goes its own way from here."""

def fill_bitmasks(
    matchers: Sequence[Matcher],
    bitmask: Any,
    rows: Sequence[int] | None = None,
    remaining: Sequence[int | None] | None = None,
    within: float | None = None,
) -> list[bool] | None:
    """Fill a row for each matcher, without the GIL: rows 0, 1, … where `rows` is None.

    A mask that was filled here before, by any matcher of the same compiled schema and under any budget that took
    nothing away, is copied; one that its matcher filled last, without a lock. Batches of many megabytes are copied by
    several threads, one for each core.
    `remaining` is as in Matcher.fill_bitmask, an item for each matcher. Where one raises, rows of others may be filled.

    With `within`, seconds, it returns for each matcher whether its row is pending: not ready in that time; without,
    None. A pending row is left as it was, and its mask goes on being made by a thread of the module; the next call that
    asks for it fills it, ready or waiting again. So no row waits for another's schema, and a row that is filled is the
    same as without a time. What a call needs of Python, reading parts of a schema for the first time, is not cut short.
    """

def allow_tokens(bitmask: Any, rows: Sequence[int], tokens: Sequence[int]) -> None:
    """Let each of these rows of `bitmask`, int32[rows, words], allow one token and no other. O(words) a row.

    IndexError where there is no such row or token; then nothing is written.
    """

def apply_bitmask(logits: Any, bitmask: Any) -> None:
    """Write -infinity over the logits of tokens that the bitmask does not allow, in place."""

def attend(
    queries: int,
    query_stride: int,
    cache: int,
    cache_stride: int,
    found: int,
    rows: int,
    past: int,
    heads: int,
    groups: int,
    size: int,
) -> None:
    """Attend for a few rows: row i sees the first `past + i + 1` tokens of the cache. Everything is bfloat16.

    `queries`, `cache` and `found` are addresses of `[rows, heads, size]`, `[2 groups, tokens, size]` (the keys of each
    group of heads, then the values) and `[rows, heads, size]`; the strides are of rows and of groups, in numbers. What
    lies there must be as large as that, and must not be freed meanwhile.
    """

def memory() -> dict[str, int]:
    """Return what the engine holds, in bytes: of this process, by now.

    `budget` is what all tables together may hold (512 MB unless `limit_memory` said otherwise), and `tables` what
    they do, with the frames and masks that each schema keeps; of that, `shared` are the tables that schemas share,
    and `isolates` are tables of one schema each, which took long or much. `flushes` counts how often tables were
    thrown away to stay within the budget, or because a call ended early in them. `held` is all that the module has
    allocated: tables, vocabularies, matchers.
    """

def limit_memory(nbytes: int) -> None:
    """Let the tables of all schemas together hold at most so many bytes; beyond that the largest are thrown away.

    What is thrown away is made again when it is asked for: nothing is lost but time. A call that alone takes more ends
    in a SchemaError with the limit `memory`.
    """

def fail_at(ticks: int = 0, allocations: int = 0) -> bool:
    """Let the n-th tick of this thread be a limit that is met, or its n-th allocation fail; 0: neither. For tests.

    Returns whether the one that was asked for before has come.
    """

def longest_search() -> float:
    """Return the most processor seconds between two looks at the clock in a call of this thread since this was asked.

    For tests; it is measured from the first time on.
    """

def seal() -> None:
    """Keep what the process knows of lexemes by now in tables of their own, so that those that grow are small."""

def word_bounds(text: str, classify: Callable[[int], int]) -> tuple[bytes, bytes]:
    """Return where in a text a quotation may begin and where it may end: a byte, 0 or 1, for each index to len(text).

    `classify` is asked once in the process for each character, and returns its classes (schemas/grounding/
    word_bounds.py). O(characters).
    """

@final
class JsonTree:
    """A JSON value, read once: the private copy of a schema. It never changes; any number of threads may use it."""

    @staticmethod
    def of(value: Any, depth: int, most: int, others: bool = False) -> JsonTree | None:
        """Read a value, in one walk. Linear.

        None unless it is made of exactly dict with str keys, list, str, int, float, bool and None, with finite numbers
        of no more than thousands of digits, no deeper than `depth`, of at most `most` bytes of text and an eighth as
        many containers. Shared parts are read each time they are met. With `others`, a scalar of any other type is kept
        as it is.
        """

    @property
    def met(self) -> int:
        """The bits of jsontext.ID and its like: the words that it has."""

    @property
    def weight(self) -> int:
        """How many values it has, 64 bytes of texts or of an object's keys counting as another. Linear."""

    @property
    def written(self) -> bytes | None:
        """Its content as bytes; None where it has scalars of other types.

        Two values have the same bytes if they have the same keys in the same order, and items of the same types that
        are equal.
        """

    @property
    def contents(self) -> Any:
        """The value as Python objects of its own, the same ones each time; they are made when this is first read."""

    def copy(self) -> Any:
        """Return the value as Python objects that nobody else has."""

    def get(self, key: str) -> Any:
        """Return a member of the root, or None. Linear in the members."""

    def __contains__(self, key: str, /) -> bool:
        """Say whether the root has a member. Linear in the members."""

@final
class KeywordTable:
    """Numbers by keyword, or by another word, as arrays: for walks over a JsonTree. Immutable."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        """Read them, each from 0 to 254. ValueError where a process has more than 255 words in all its tables."""

@final
class DialectTables:
    """What the walks over a schema must know of a dialect (keywords.Dialect). Immutable."""

    def __init__(
        self,
        name: str,
        keywords: Mapping[str, int],
        looked_into: Mapping[str, int],
        integer: int,
        ref_alone: bool,
        boolean_bounds: bool,
    ) -> None: ...

@final
class Places:
    """Positions by the address (`id`) of an object in the contents of one document."""

    def __contains__(self, address: int, /) -> bool: ...
    def __getitem__(self, address: int, /) -> int:
        """Return the position; KeyError where there is none."""

    @overload
    def get(self, address: int) -> int | None: ...
    @overload
    def get(self, address: int, otherwise: _T) -> int | _T:
        """Return the position, or `otherwise`, or None."""

@final
class SchemaPositions:
    """The schemas that one compile can reach, by position (schemas/documents.py): a sequence, `true` and `false` first.

    It grows in one thread at a time; others may read meanwhile.
    """

    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    def __getitem__(self, at: int, /) -> Any:
        """Return a schema as a Python object, the same one each time."""

    def add(self, tree: JsonTree) -> Places:
        """Add a document, unless it is there."""

    def begin(self, places: Places) -> int:
        """Return the position of a document's root, giving it one; -1 where that is no schema."""

    def place(self, places: Places, address: int, parent: int, path: tuple[str | int, ...]) -> int:
        """Give an object of a document's contents the next position; KeyError where it is none."""

    def trail(self, position: int) -> tuple[int, tuple[str | int, ...]]:
        """Return the parent of a position, with the path from there; -1 with the path from the document's root."""

    def leads(self) -> dict[int, int]:
        """Return where each `$ref` leads that the scan followed, by position."""

    def may_loop(self) -> bool:
        """Say whether some schema may lead to itself before anything of the value is read, by `leads`. Linear."""

def json_parts(value: Any, most: int) -> int:
    """Return how many parts a value has, 64 characters of a text being one; above `most`, a lower bound. O(most).

    -1 where it is not made of exactly dict with str keys, list, tuple, str, int, float, bool and None.
    """

def is_plainly_valid(tree: JsonTree, rules: KeywordTable, booleans: bool) -> bool:
    """Say whether a schema is valid by the rules (metaschemas.Rule) of the keywords that its metaschema constrains.

    What is said to be valid is; of what is not, the metaschema must be asked. `booleans` says whether they are schemas.
    Linear in the schema.
    """

@final
class Drafts:
    """Records of nodes as the engine keeps them, until it takes them out of here. Equal if they say the same."""

    @property
    def nodes(self) -> list[int]:
        """The nodes."""

def read_records(nodes: list[int], records: list[list[tuple[Any, ...]]]) -> Drafts:
    """Return records as drafts; TypeError where one has another shape than schemas/ops.py tells."""

@final
class LoweringTables:
    """What NodeLowering looks up for all nodes of a compile; made by lowering.tables."""

    def __init__(
        self,
        homes: Any,
        targets: Any,
        idle: Any,
        formats: bool,
        annotate: bool,
        kinds: KeywordTable,
        how: KeywordTable,
        known_formats: KeywordTable,
        format_trees: dict[Any, Any],
        known: dict[Any, Any],
        parse: Any,
    ) -> None: ...

@final
class Twins:
    """Which schemas of a compile say the same, as far as they were met, and which nodes were lowered."""

    def __init__(self, positions: SchemaPositions) -> None: ...
    def first(self, tables: LoweringTables, position: int, around: DialectTables) -> int:
        """Return the first position known that says the same: a lone reference's target, a plain scalar's like.

        Most schemas say `{"type": "string"}` hundreds of times; the engine then meets one node. `tables` are those of
        lowering.tables, and `around` the dialect of the schema around it. Linear in the schema's keywords.
        """

    def alike(self, position: int) -> list[int]:
        """Return the other positions whose first it is. Linear in the positions."""

@final
class NodeLowering:
    """Says what Lowering._lower says of nodes, where no reference is dynamic and no keyword dropped.

    With it come the nodes that these lead to and that no call has returned: a mask will need them next. `tables` are
    those of lowering.tables. Keywords that these leave to Python, and values that say more than scalars and schemas,
    are asked of `front.lowering`. `lock` is held meanwhile. An engine calls it without Python in between.
    """

    def __init__(self, front: Any, tables: LoweringTables, twins: Twins, lock: Any) -> None: ...
    def __call__(self, nodes: list[int]) -> Drafts:
        """Return the drafts of nodes. Linear in their keywords and those of the schemas right below them."""

def scanned(
    positions: SchemaPositions,
    homes: list[Any],
    most: int,
    plain: KeywordTable,
    slow_formats: KeywordTable,
    parse: Callable[[str], Any],
    look: Callable[[int, str, Any], None],
    from_: int,
) -> None:
    """Give all that the schemas from a position on hold a position, as scan.look does, until there is no other.

    `homes` are those of Documents, and grow; there may be `most` positions. `look` is asked about keywords that are
    not `plain`, or whose value is not what most schemas have there; formats are plain unless they are slow, and
    patterns that every dialect reads alike, which `parse` reads and remembers. Linear in the schemas; other threads
    run meanwhile.
    """

def scanned_alone(
    positions: SchemaPositions,
    tree: JsonTree,
    dialect: DialectTables,
    most: int,
    plain: KeywordTable,
    slow_formats: KeywordTable,
    parse: Callable[[str], Any],
) -> int:
    """Do the same for a document that is one resource, as long as nothing must be asked of Python.

    `positions` must be empty. Returns -1, or the position from which on `scanned` must go on.
    """

@final
class Sampler:
    """Valid values of an engine's schema, read off sequences of choices. Any number of threads may use it, in turn."""

    def __init__(self, engine: Engine) -> None:
        """Make a sampler of an engine, best one of compact white space and canonical spelling."""

    def sample(self, choices: Sequence[bytes]) -> tuple[bytes, int] | None:
        """Return the JSON text for these choices and how many units were begun; None where the schema has no instance.

        A choice is a byte, 0 the simplest; behind the last one all are 0. They come in units: one for the value, one
        for each member and item inside of it. SchemaError where a limit is met.
        """
