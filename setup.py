"""Extension modules of the cores; everything else about the package is in pyproject.toml."""

import os
import sys
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CHECKED = os.environ.get("HWSIM_CHECKED") == "1"
MACROS = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")]
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "wraparound": False,
    "initializedcheck": CHECKED,
    "cdivision": not CHECKED,
    "freethreading_compatible": True,
}

extensions = [
    Extension(
        f"hwsim._core.{source.stem}",
        [str(source)],
        include_dirs=[numpy.get_include()],
        define_macros=MACROS,
        # No -march=native and no -ffast-math: results are bit-equal on every x86-64.
        # The two warnings silenced are about what Cython writes around packed rows, not about our code.
        extra_compile_args=["-O3", "-ffp-contract=off", "-Wno-unused-function", "-Wno-address-of-packed-member"],
    )
    for source in sorted(Path("hwsim/_core").glob("*.pyx"))
]


class Build(build_ext):
    """Cores built beside their sources are stamped with them: hwsim/_core/__init__.py refuses older ones."""

    def run(self) -> None:
        stamp = Path("hwsim/_core/built.sha256")
        stamp.unlink(missing_ok=True)
        super().run()
        if self.inplace:
            sys.path.insert(0, "")
            from hwsim._core import sources_digest

            stamp.write_text(sources_digest())


setup(
    cmdclass={"build_ext": Build},
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
    ext_modules=cythonize(
        extensions,
        compiler_directives=DIRECTIVES,
        build_dir="build/checked" if CHECKED else "build/release",
        nthreads=os.cpu_count() or 1,
    ),
)
