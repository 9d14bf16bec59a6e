"""placeholder"""
import subprocess
from pathlib import Path
def commit_of(project: Path) -> str:
    return subprocess.run(["git","rev-parse","HEAD"],cwd=project,capture_output=True,text=True).stdout.strip()
