"""GEMMs of decoding: few rows, the weights of Llama 3.1 8B, and of 70B on four GPUs."""

from functools import partial

import torch

from kernel_timings.case import Case, Cases

# Output and input width: QKV, attention's output, gate and up, down; the LM head.
WIDTHS = (
    (6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336),
    (2560, 8192), (8192, 2048), (14336, 8192), (8192, 7168), (128256, 4096),
)  # fmt: skip
ROWS = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512)


def gemm_cases(device: torch.device, tiny: bool) -> Cases:
    """``x @ w.T`` of bfloat16, and of FP8 (E4M3) with one scale per tensor and a bfloat16 result."""
    for bits, make, call in ((16, inputs, torch.nn.functional.linear), (8, fp8_inputs, fp8_product)):
        for n, k in ((32, 16),) if tiny else WIDTHS:
            for m in (1, 16) if tiny else ROWS:
                sizes = {"m": m, "n": n, "k": k, "dtype": "bfloat16" if bits == 16 else "fp8"}
                moved = bits / 8 * (m * k + n * k) + 2.0 * m * n
                name = "linear" if bits == 16 else "_scaled_mm"
                implementation = f"torch {torch.__version__} {name}"
                yield Case("gemm", implementation, sizes, moved, 2.0 * m * n * k, partial(make, m, n, k, device), call)


def inputs(m: int, n: int, k: int, device: torch.device, copy: int) -> tuple[torch.Tensor, ...]:
    """Activations and weights, random: zeros would draw less power and run at a higher clock."""
    generator = torch.Generator(device).manual_seed(copy)
    shapes = ((m, k), (n, k))
    x, w = (torch.randn(shape, generator=generator, device=device, dtype=torch.bfloat16) for shape in shapes)
    return x, w


def fp8_inputs(m: int, n: int, k: int, device: torch.device, copy: int) -> tuple[torch.Tensor, ...]:
    """The same, quantised before: engines do it in the kernel before."""
    if not hasattr(torch, "_scaled_mm"):
        raise RuntimeError(f"torch {torch.__version__} has no _scaled_mm")
    if device.type == "cuda" and torch.version.cuda and torch.cuda.get_device_capability(device) < (8, 9):
        raise RuntimeError("the GPU has no FP8 unit")
    x, w = inputs(m, n, k, device, copy)
    return x.to(torch.float8_e4m3fn), w.to(torch.float8_e4m3fn), torch.ones((), device=device)


def fp8_product(x: torch.Tensor, w: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """One product of FP8 numbers; the second must lie column by column."""
    return torch._scaled_mm(
        x, w.t(), scale_a=scale, scale_b=scale, out_dtype=torch.bfloat16, use_fast_accum=x.device.type == "cuda"
    )
