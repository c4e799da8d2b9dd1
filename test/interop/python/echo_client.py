"""Calls echo.v1.Echo through grpcio and prints what it saw, one JSON object on stdout.

usage: echo_client.py ADDRESS < FileDescriptorSet
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "echo.v1.Echo"


def message_classes(serialized_set):
    """The request and response classes, from the descriptors that the server's side was made of."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(serialized_set).file:
        pool.Add(file)
    names = ("echo.v1.EchoRequest", "echo.v1.EchoResponse")
    types = [pool.FindMessageTypeByName(name) for name in names]
    if hasattr(message_factory, "GetMessageClass"):  # protobuf 4.22 and later
        return [message_factory.GetMessageClass(type) for type in types]
    return [message_factory.MessageFactory(pool).GetPrototype(type) for type in types]


def failure_of(call):
    """Code and message of a call that fails."""
    try:
        call()
    except grpc.RpcError as error:
        return [error.code().name, error.details()]
    return ["OK", ""]


def main():
    address = sys.argv[1]
    Request, Response = message_classes(sys.stdin.buffer.read())
    to_bytes, from_bytes = Request.SerializeToString, Response.FromString
    seen = {}

    with grpc.insecure_channel(address) as channel:
        def path(method):
            return f"/{SERVICE}/{method}"

        unary = channel.unary_unary(path("Unary"), to_bytes, from_bytes)
        answer, call = unary.with_call(
            Request(text="grüße", big_number=2**63 - 1, data=b"\x00\xff"),
            metadata=[("x-word", "one"), ("x-word", "two"), ("x-raw-bin", b"\x00\xff\x80")],
        )
        seen["unary"] = [answer.request.text, str(answer.request.big_number), answer.request.data.hex()]
        seen["metadata"] = dict(answer.metadata)
        seen["headers"] = {key: value.hex() for key, value in call.initial_metadata() if key == "x-head-bin"}
        seen["trailers"] = {key: value for key, value in call.trailing_metadata() if key == "x-tail"}

        download = channel.unary_stream(path("ServerStream"), to_bytes, from_bytes)
        seen["serverStream"] = [a.request.count for a in download(Request(count=4))]

        upload = channel.stream_unary(path("ClientStream"), to_bytes, from_bytes)
        seen["clientStream"] = upload(Request(text=word) for word in ("a", "b", "c")).request.text

        talk = channel.stream_stream(path("Bidi"), to_bytes, from_bytes)
        seen["bidi"] = [a.request.text for a in talk(Request(text=word) for word in ("x", "y"))]

        seen["deadline"] = failure_of(
            lambda: channel.unary_unary(path("Wait"), to_bytes, from_bytes)(Request(), timeout=0.1)
        )[0]
        seen["unknown"] = failure_of(lambda: channel.unary_unary(path("Nope"))(b""))[0]
        seen["failure"] = failure_of(
            lambda: channel.unary_unary(path("Fail"), to_bytes, from_bytes)(Request())
        )

        waiting = channel.unary_unary(path("Wait"), to_bytes, from_bytes).future(Request())
        waiting.cancel()
        seen["cancelled"] = waiting.cancelled()

    with grpc.insecure_channel(address, compression=grpc.Compression.Gzip) as channel:
        unary = channel.unary_unary(path("Unary"), to_bytes, from_bytes)
        text = "packed " * 5000
        seen["gzip"] = unary(Request(text=text)).request.text == text

    json.dump(seen, sys.stdout)


main()
