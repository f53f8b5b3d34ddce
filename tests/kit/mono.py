"""C# programs, as mono runs them."""

import shutil
import subprocess
from pathlib import Path

from tests.kit.server import needs

ASSEMBLIES = ["System.Core", "System.Net.Http", "System.Runtime.Serialization"]


def compiled(folder: Path, *sources: Path) -> list[str]:
    """Compile a program of *sources* into *folder*, once; return the command that runs it."""
    programs = all(map(shutil.which, ["mcs", "mono"]))
    assemblies = all(Path(f"/usr/lib/mono/4.5/{name}.dll").exists() for name in ASSEMBLIES)
    needs(f"mono with mcs, {', '.join(ASSEMBLIES)}", programs and assemblies)
    program = folder / f"{sources[0].stem}.exe"
    if not program.exists():
        references = [f"-r:{name}" for name in ASSEMBLIES]
        command = ["mcs", "-warnaserror", *references, f"-out:{program}", *map(str, sources)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return ["mono", str(program)]
