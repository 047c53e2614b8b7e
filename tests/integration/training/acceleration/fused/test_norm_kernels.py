"""Kernels of rounded LayerNorms, in Triton's interpreter or on a GPU, against the formula in float64."""

from __future__ import annotations

import pytest
import torch

from beft_core.libraries.torch_private import has_triton

norm_kernels = pytest.importorskip("beft_core.training.acceleration.fused.norm_kernels", reason="there is no Triton")
DEVICE = "cuda" if torch.cuda.is_available() and has_triton() else "cpu"
EPS = 1e-5
ROUNDING = 2**-8 if DEVICE == "cuda" else 2**-7
"""Largest relative error of a number in bfloat16; Triton's interpreter cuts off what a GPU rounds."""


def made(rows: int, width: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Make an input far from zero, the gradient of the output, a weight and a bias."""
    generator = torch.Generator().manual_seed(width)
    x, grad = (torch.randn(rows, width, generator=generator) for _ in range(2))
    weight, bias = 1 + 0.2 * torch.randn(width, generator=generator), torch.randn(width, generator=generator)
    return tuple(one.to(DEVICE) for one in ((3 * x + 5).to(dtype), grad.bfloat16(), weight, bias))


@pytest.mark.parametrize("width", [48, 64, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("with_bias", [True, False])
def test_values_and_gradients_are_those_of_the_formula(width: int, dtype: torch.dtype, with_bias: bool) -> None:
    x, grad, weight, bias = made(5, width, dtype)
    out, mean, scale = norm_kernels.forward(x, weight, bias if with_bias else None, EPS)
    exact = x.double().requires_grad_()
    normal = torch.nn.functional.layer_norm(exact, (width,), weight.double(), bias.double() * with_bias, EPS)
    normal.backward(grad.double())
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.double(), normal.detach(), rtol=ROUNDING, atol=1e-5)
    torch.testing.assert_close(mean.double(), x.double().mean(1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(scale.double(), (x.double().var(1, correction=0) + EPS).rsqrt(), rtol=1e-5, atol=0)
    found = norm_kernels.backward(grad, x, weight, mean, scale)
    assert found.dtype == dtype and exact.grad is not None
    rounding = ROUNDING if dtype == torch.bfloat16 else 1e-4
    torch.testing.assert_close(found.double(), exact.grad, rtol=rounding, atol=1e-5)


def test_each_part_of_the_rows_has_a_bias_of_its_own() -> None:
    x, _, weight, bias = made(6, 48, torch.bfloat16)
    biases = torch.stack([bias, 2 * bias, bias - 1])
    out, _, _ = norm_kernels.forward(x, weight, biases, EPS)
    normal = torch.nn.functional.layer_norm(x.double(), (48,), weight.double(), None, EPS)
    expected = normal + biases.double().repeat_interleave(2, 0)
    torch.testing.assert_close(out.double(), expected, rtol=ROUNDING, atol=1e-5)


def test_a_state_without_spread_has_no_gradient_that_is_not_finite() -> None:
    x, grad, weight, bias = made(2, 64, torch.float32)
    x = torch.full_like(x, 7.0)
    out, mean, scale = norm_kernels.forward(x, weight, bias, EPS)
    torch.testing.assert_close(out, bias.bfloat16().expand(2, -1), rtol=ROUNDING, atol=0)
    assert torch.isfinite(norm_kernels.backward(grad, x, weight, mean, scale)).all()
