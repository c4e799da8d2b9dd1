"""A worker for collector.ServiceHosts/Attach: all of what one needs, over any gRPC channel.

A handler takes a Call and yields the messages of its answer, as bytes. What it raises is the status of
the call: a Failure as it is, anything else as INTERNAL.
"""

import queue
import threading

WINDOW = 262_144
PART = 65_536
FRAME_COST = 64


class Failure(Exception):
    """How a call ends that does not end with OK."""

    def __init__(self, code, message, metadata=()):
        super().__init__(message)
        self.code, self.message, self.metadata = code, message, metadata


class Call:
    """A call that the worker runs."""

    def __init__(self, worker, call_id, opened):
        self._worker, self._id = worker, call_id
        self.path = opened.path
        self.metadata = [(pair.name, pair.value) for pair in opened.metadata]
        self.cancelled = threading.Event()
        self._inbox = queue.Queue()
        self._parts, self._part_cost = [], 0
        self._taken = 0
        self._credit = WINDOW
        self._may_send = threading.Condition()

    def messages(self):
        """The messages of the caller, as they come; what is not asked for holds it back."""
        while (item := self._inbox.get()) is not None:
            message, cost = item
            self._taken += cost
            if self._taken >= WINDOW // 4:
                self._send(window=self._taken)
                self._taken = 0
            yield message

    def send_headers(self, metadata):
        """Metadata before the first message."""
        self._send(headers=self._worker.types["TunnelHeaders"](metadata=self._worker.pairs(metadata)))

    def accept(self, frame):
        """A frame of the caller."""
        kind = frame.WhichOneof("frame")
        if kind in ("message", "part"):
            self._parts.append(getattr(frame, kind))
            self._part_cost += len(self._parts[-1]) + FRAME_COST
            if kind == "message":
                self._inbox.put((b"".join(self._parts), self._part_cost))
                self._parts, self._part_cost = [], 0
            elif self._part_cost > WINDOW // 2:
                # The rest of a long message would not come otherwise.
                self._send(window=self._part_cost)
                self._part_cost = 0
        elif kind == "half_close":
            self._inbox.put(None)
        elif kind == "window":
            with self._may_send:
                self._credit += frame.window
                self._may_send.notify()
        elif kind == "cancel":
            self.cancel()

    def cancel(self):
        self.cancelled.set()
        self._inbox.put(None)
        with self._may_send:
            self._may_send.notify()

    def run(self, handler):
        """Runs the handler. Whatever happens, trailers are the end of it."""
        code, message, metadata = 0, "", ()
        try:
            for answer in handler(self):
                self._send_message(answer)
                if self.cancelled.is_set():
                    raise Failure(1, "cancelled")
        except Failure as failure:
            code, message, metadata = failure.code, failure.message, failure.metadata
        except Exception:
            code, message = 13, "the worker failed"
        trailers = self._worker.types["TunnelTrailers"]
        pairs = self._worker.pairs(metadata)
        self._worker.forget(self._id)
        self._send(trailers=trailers(code=code, message=message, metadata=pairs))

    def _send_message(self, message):
        offset = 0
        while True:
            rest = len(message) - offset
            with self._may_send:
                enough = lambda: self._credit >= FRAME_COST + min(rest, 4096) or self.cancelled.is_set()
                self._may_send.wait_for(enough)
                if self.cancelled.is_set():
                    return
                size = min(rest, PART, self._credit - FRAME_COST)
                self._credit -= size + FRAME_COST
            piece = message[offset : offset + size]
            offset += size
            if offset == len(message):
                self._send(message=piece)
                return
            self._send(part=piece)

    def _send(self, **frame):
        self._worker.send_frame(call_id=self._id, **frame)


class Worker:
    """Runs calls of some services for a collector, for as long as it lets the worker."""

    def __init__(self, channel, types, handlers, **hello):
        """types: classes of the messages of package collector, by name. handlers: functions, by path."""
        self.types, self._handlers = types, handlers
        self._out = queue.Queue()
        self._calls = {}
        self._attach = channel.stream_stream(
            "/collector.ServiceHosts/Attach",
            types["AttachRequest"].SerializeToString,
            types["AttachResponse"].FromString,
        )
        self._request(hello=types["AttachRequest.Hello"](**hello))

    def run(self, on_welcome=lambda welcome: None):
        """Returns when the collector has let the worker go. Raises grpc.RpcError if it is lost."""
        try:
            for response in self._attach(iter(self._out.get, None)):
                step = response.WhichOneof("step")
                if step == "welcome":
                    on_welcome(response.welcome)
                elif step == "ping":
                    self._request(pong=response.ping)
                elif step == "frames":
                    for frame in response.frames.frames:
                        self._accept(frame)
        finally:
            self._out.put(None)
            for call in list(self._calls.values()):
                call.cancel()

    def drain(self):
        """Takes no new calls; run() returns when those that run are done."""
        self._request(drain=self.types["AttachDrain"]())

    def pairs(self, metadata):
        return [self.types["TunnelMetadatum"](name=name, value=value) for name, value in metadata]

    def send_frame(self, **frame):
        frames = self.types["TunnelFrames"](frames=[self.types["TunnelFrame"](**frame)])
        self._request(frames=frames)

    def forget(self, call_id):
        self._calls.pop(call_id, None)

    def _request(self, **step):
        self._out.put(self.types["AttachRequest"](**step))

    def _accept(self, frame):
        if frame.WhichOneof("frame") != "open":
            # Frames of a call that has ended here may still come.
            if frame.call_id in self._calls:
                self._calls[frame.call_id].accept(frame)
            return
        call = self._calls[frame.call_id] = Call(self, frame.call_id, frame.open)
        handler = self._handlers.get(call.path, unknown)
        threading.Thread(target=call.run, args=(handler,), daemon=True).start()


def unknown(call):
    """The handler of a path that has none."""
    raise Failure(12, f"{call.path} is not run here")
    yield
