"""Images computed from rules, without data: curves, shaded spheres, procedural textures, and marbles. NumPy only."""

from __future__ import annotations

from imggen_lib.rendering.curves import draw_curve, fractal, spirograph
from imggen_lib.rendering.marbles import BACKGROUNDS, HUES, TEXTURES, render_marbles
from imggen_lib.rendering.procedural import gradient_noise
from imggen_lib.rendering.shading import lit_sphere, phong, sphere_normals, sphere_shadow, wrap

__all__ = [
    "BACKGROUNDS", "HUES", "TEXTURES", "draw_curve", "fractal", "gradient_noise", "lit_sphere", "phong", "render_marbles",
    "sphere_normals", "sphere_shadow", "spirograph", "wrap",
]  # fmt: skip
