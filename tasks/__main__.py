"""`python -m tasks STAGE`: what dvc.yaml runs."""

import argparse
import sys

from tasks import stage

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tasks", description="Run one stage of dvc.yaml here.")
    parser.add_argument("stage", help="its name in dvc.yaml, such as clean or gate@clean")
    sys.exit(stage.main(parser.parse_args().stage))
