"""Takes the pictures of the dashboards in docs/images, from the running demo while its feed is broken.

Run by `make screenshots`. The incidents are the demo's own, a minute after each other, and stay.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from chromium import Chromium

from windvane_dashboards.boards import BOARDS
from windvane_processors.demo.story import Teller, running

FOLDER: Final = Path(__file__).parents[2] / "docs" / "images"
SHOWN: Final = "from=now-5m&to=now&refresh=&var-feature=distance&var-version=1&var-other=2"
QUIET_SECONDS: Final = 90
INCIDENTS: Final = (("distance in kilometres", 80), ("weather columns lost", 75))
"""Each with the seconds until it shows everywhere."""


def main() -> None:
    """Take all of them."""
    FOLDER.mkdir(exist_ok=True)
    with running(Teller(lambda step: print(step.text)), log=print) as demo, Chromium() as chromium:  # noqa: T201
        base = demo.dashboards.partition("/d/")[0]
        time.sleep(QUIET_SECONDS)
        for incident, seconds in INCIDENTS:
            demo.replay.incidents.append(incident)
            time.sleep(seconds)
        for board in BOARDS:
            chromium.open(f"{base}/d/{board['uid']}?{SHOWN}")
            picture = FOLDER / f"{board['uid'].removeprefix('windvane-')}.png"
            chromium.picture(picture)
            print(picture.relative_to(FOLDER.parents[1]), f"{picture.stat().st_size >> 10} KiB")  # noqa: T201


if __name__ == "__main__":
    main()
