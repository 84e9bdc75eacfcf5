"""The demo's web server: busybox's httpd, with a page that tells its version and its pod.

    python -m demo.image web.tar [VERSION]

writes an archive of it for `navctl image import`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from agents.cri.images import Directory, File, ImageSource, build_image, busybox_files

# Process 1 gets no default actions of signals, so the shell says that it ends at SIGTERM.
_START = b"""#!/bin/sh
trap 'exit 0' TERM
echo "web $VERSION starts as $POD_NAME"
mkdir -p /tmp/www
echo "$VERSION $POD_NAME" > /tmp/www/index.html
httpd -f -v -p 8080 -h /tmp/www &
wait
"""


def web_image(version: str, busybox: Path) -> ImageSource:
    """The image registry.test/web:VERSION."""
    files = busybox_files(busybox)
    files["/start"] = File(_START, 0o755)
    files["/tmp"] = Directory(0o1777)
    return ImageSource(
        reference=f"registry.test/web:{version}",
        files=files,
        command=["/start"],
        environment={"VERSION": version, "PATH": "/bin"},
    )


def main() -> int:
    if not 2 <= len(sys.argv) <= 3:
        print("usage: python -m demo.image ARCHIVE [VERSION]", file=sys.stderr)
        return 2
    busybox = shutil.which("busybox")
    if busybox is None:
        print("demo.image: no busybox here: apt-get install busybox-static", file=sys.stderr)
        return 1
    archive, version = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else "v1"
    image = web_image(version, Path(busybox))
    archive.write_bytes(build_image(image))
    print(f"{archive}: {image.reference}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
