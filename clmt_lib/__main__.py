"""`python -m clmt_lib` is the `clmt` command."""

from clmt_lib.cli import main

raise SystemExit(main())
