"""The demo's web server: busybox's httpd, with a page that tells its version and its pod."""

from __future__ import annotations

from pathlib import Path

from agents.cri.images import Directory, File, ImageSource, busybox_files

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
