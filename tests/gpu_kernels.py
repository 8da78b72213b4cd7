"""Compile every Triton kernel for a GPU, also where there is none, and print each one's name.

    env -u TRITON_INTERPRET python tests/gpu_kernels.py

The types are those with which the wrappers in kernels/gpu launch them; the target is an A100 (sm_80).
"""

from __future__ import annotations

import warnings

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from guard.kernels.gpu import apply, device_tables, sample

TARGET = GPUTarget("cuda", 80, 32)
SIZES = {"width": "i32", "masked": "i32", "stride_l": "i64", "stride_t": "i32", "stride_m": "i32", "stride_w": "i32"}
ROW = {"masks": "*i32", "at": "*i32", "temperatures": "*fp32", "floors": "*i32"}
FOUND = {"scores": "*fp32", "tokens": "*i32", "blocks": "i32"}
ROWS = ("token", "state", "row", "last", "length", "limit", "fault", "out")
TABLES = ("mask_of", "enough", "lexeme_of", "members_of", "members", "nexts")
COUNTS = ("rows", "capacity", "size", "slots")
NONE = {"NONE": 2**31 - 1}
SHARES = {"PASSES": 8, "SHARE": 2**30, "LEAST": sample.LEAST_TEMPERATURE, "BLOCK": sample.SEARCH_BLOCK}

#: Each kernel with the types of its arguments, its constants, and how it is launched.
KERNELS = [
    (
        device_tables._advance,
        {**dict.fromkeys((*ROWS, *TABLES), "*i32"), **dict.fromkeys(COUNTS, "i32"), "classes": "*u8", "keys": "*i64"},
        {"PROBES": device_tables.PROBES, "FAULT": sample.NOT_A_NUMBER, "BLOCK": device_tables.BLOCK},
        {},
    ),
    (sample._pick, {**FOUND, "out": "*i32"}, {**NONE, "NOTHING": sample.NOTHING, "WIDTH": 256}, {}),
]
for kind in ("bf16", "fp32"):
    logits = {"logits": f"*{kind}"}
    KERNELS += [
        (apply._apply_bitmask, {**logits, "bitmask": "*i32", **SIZES}, {"BLOCK": apply.BLOCK}, {}),
        (
            sample._find_floor,
            {**logits, **ROW, "top_k": "*i32", "top_p": "*fp32", **SIZES},
            SHARES,
            {"num_warps": sample.SEARCH_WARPS},
        ),
        (
            sample._draw,
            {**logits, **ROW, "seeds": "*i64", "steps": "*i32", **FOUND, **SIZES},
            {**NONE, "FAULT": sample.NOT_A_NUMBER, "LEAST": sample.LEAST_TEMPERATURE, "BLOCK": sample.BLOCK},
            {"enable_fp_fusion": False},
        ),
    ]

if __name__ == "__main__":
    warnings.filterwarnings("ignore", message="TRITON_DEFAULT_FP_FUSION")  # says so where a launch does not
    for kernel, types, constants, options in KERNELS:
        source = ASTSource(kernel, {**types, **dict.fromkeys(constants, "constexpr")}, constants)
        assert triton.compile(source, target=TARGET, options=options).asm["cubin"]
        print(kernel.__name__)
