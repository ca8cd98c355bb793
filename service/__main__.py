"""``python -m service`` is ``video-events``."""

from service.cli import main

main()
