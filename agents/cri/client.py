"""The typed client of the container runtime: CRI version 1 over gRPC on a unix socket.

One connection carries all calls, many at a time. Each call has a time limit that fits what it does, so that a runtime
that hangs is noticed; a failure arrives as one of `errors.py`. Calls that end something can be repeated, and removing
what is already gone is a success, as the interface demands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

import grpc

from agents.cri.errors import cri_error
from agents.cri.v1 import image_pb2 as image
from agents.cri.v1 import runtime_pb2 as cri
from agents.cri.v1.image_pb2_grpc import ImageServiceStub
from agents.cri.v1.runtime_pb2_grpc import RuntimeServiceStub

Q = TypeVar("Q")
A = TypeVar("A")

# Seconds. Looking is fast; starting a sandbox sets up its network; a pull may move gigabytes.
_LOOK = 10.0
_CHANGE = 120.0
_PULL = 1800.0
# What a stop may take beyond the container's own grace period.
_STOP_MARGIN = 30.0

# containerd's own limit; a list of a thousand containers with long annotations needs more than gRPC's 4 MiB.
_MESSAGE_LIMIT = 16 << 20


def connect(socket: Path) -> grpc.aio.Channel:
    """A channel to a runtime's socket. It connects when used, and again after the runtime was restarted."""
    options = [
        ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
        ("grpc.max_send_message_length", _MESSAGE_LIMIT),
        # The peer is on this machine: when it is back, find it at once.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        # Two runtimes of one process must not share a connection.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.aio.insecure_channel(f"unix:{socket}", options=options)


class CriClient:
    """Calls of one runtime. Use as an async context manager, or `close` it."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.channel = connect(socket)
        self._runtime = RuntimeServiceStub(self.channel)
        self._images = ImageServiceStub(self.channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self.channel.close(None)

    # The runtime itself

    async def version(self) -> cri.VersionResponse:
        return await _call(self._runtime.Version, cri.VersionRequest(version="v1"), _LOOK)

    async def status(self, *, verbose: bool = False) -> cri.StatusResponse:
        """Its conditions RuntimeReady and NetworkReady; the latter needs a CNI configuration."""
        return await _call(self._runtime.Status, cri.StatusRequest(verbose=verbose), _LOOK)

    # Sandboxes

    async def run_pod_sandbox(self, config: cri.PodSandboxConfig, *, runtime_handler: str = "") -> str:
        """Starts a sandbox with its network; returns its id."""
        request = cri.RunPodSandboxRequest(config=config, runtime_handler=runtime_handler)
        return (await _call(self._runtime.RunPodSandbox, request, _CHANGE)).pod_sandbox_id

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        """Kills what runs in the sandbox and takes its network down."""
        await _call(self._runtime.StopPodSandbox, cri.StopPodSandboxRequest(pod_sandbox_id=sandbox_id), _CHANGE)

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        """Removes a stopped sandbox and its containers."""
        await _call(self._runtime.RemovePodSandbox, cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id), _CHANGE)

    async def pod_sandbox_status(self, sandbox_id: str) -> cri.PodSandboxStatus:
        request = cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id)
        return (await _call(self._runtime.PodSandboxStatus, request, _LOOK)).status

    async def list_pod_sandboxes(
        self, *, labels: Mapping[str, str] | None = None, state: cri.PodSandboxState.ValueType | None = None
    ) -> Sequence[cri.PodSandbox]:
        chosen = cri.PodSandboxFilter(label_selector=labels or {})
        if state is not None:
            chosen.state.state = state
        return (await _call(self._runtime.ListPodSandbox, cri.ListPodSandboxRequest(filter=chosen), _LOOK)).items

    # Containers

    async def create_container(
        self, sandbox_id: str, config: cri.ContainerConfig, sandbox_config: cri.PodSandboxConfig
    ) -> str:
        """Prepares a container in a running sandbox; its image must be here. Returns its id."""
        request = cri.CreateContainerRequest(pod_sandbox_id=sandbox_id, config=config, sandbox_config=sandbox_config)
        return (await _call(self._runtime.CreateContainer, request, _CHANGE)).container_id

    async def start_container(self, container_id: str) -> None:
        await _call(self._runtime.StartContainer, cri.StartContainerRequest(container_id=container_id), _CHANGE)

    async def stop_container(self, container_id: str, timeout_seconds: int) -> None:
        """Sends the stop signal, SIGKILL after the timeout; returns once the container has ended."""
        request = cri.StopContainerRequest(container_id=container_id, timeout=timeout_seconds)
        await _call(self._runtime.StopContainer, request, timeout_seconds + _STOP_MARGIN)

    async def remove_container(self, container_id: str) -> None:
        await _call(self._runtime.RemoveContainer, cri.RemoveContainerRequest(container_id=container_id), _CHANGE)

    async def list_containers(
        self,
        *,
        sandbox_id: str = "",
        labels: Mapping[str, str] | None = None,
        state: cri.ContainerState.ValueType | None = None,
    ) -> Sequence[cri.Container]:
        chosen = cri.ContainerFilter(pod_sandbox_id=sandbox_id, label_selector=labels or {})
        if state is not None:
            chosen.state.state = state
        return (await _call(self._runtime.ListContainers, cri.ListContainersRequest(filter=chosen), _LOOK)).containers

    async def container_status(self, container_id: str) -> cri.ContainerStatus:
        request = cri.ContainerStatusRequest(container_id=container_id)
        return (await _call(self._runtime.ContainerStatus, request, _LOOK)).status

    async def reopen_container_log(self, container_id: str) -> None:
        """Makes the runtime write to a new file after the log was moved away."""
        request = cri.ReopenContainerLogRequest(container_id=container_id)
        await _call(self._runtime.ReopenContainerLog, request, _LOOK)

    # Commands

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_seconds: int) -> cri.ExecSyncResponse:
        """Runs a command to its end; the runtime kills it after the timeout, which is a CriTimeoutError."""
        request = cri.ExecSyncRequest(container_id=container_id, cmd=command, timeout=timeout_seconds)
        return await _call(self._runtime.ExecSync, request, timeout_seconds + _LOOK)

    # Usage

    # Images

    async def list_images(self) -> Sequence[image.Image]:
        return (await _call(self._images.ListImages, image.ListImagesRequest(), _LOOK)).images

    async def image_status(self, reference: str) -> image.Image | None:
        """The image, or None when it is not here."""
        request = image.ImageStatusRequest(image=image.ImageSpec(image=reference))
        answer = await _call(self._images.ImageStatus, request, _LOOK)
        return answer.image if answer.HasField("image") else None

    async def pull_image(self, reference: str, auth: image.AuthConfig | None = None) -> str:
        """Fetches an image from its registry; returns what containers are created with."""
        request = image.PullImageRequest(image=image.ImageSpec(image=reference), auth=auth)
        return (await _call(self._images.PullImage, request, _PULL)).image_ref


async def _call(method: grpc.aio.UnaryUnaryMultiCallable[Q, A], request: Q, timeout: float) -> A:
    try:
        return await method(request, timeout=timeout)
    except grpc.aio.AioRpcError as failure:
        raise cri_error(failure) from None
