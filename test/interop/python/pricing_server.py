"""The example's service, pricing.v1.Pricing, as a gRPC server of Python without generated code.

Reads a FileDescriptorSet from stdin, prints the port that it listens on, and serves until stdin's
owner kills it.
"""

import sys
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

pool = descriptor_pool.DescriptorPool()
for file in descriptor_pb2.FileDescriptorSet.FromString(sys.stdin.buffer.read()).file:
    pool.Add(file)


def message_class(name):
    descriptor = pool.FindMessageTypeByName(name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


Request = message_class("pricing.v1.QuoteRequest")
Price = message_class("pricing.v1.Price")

# A google.rpc.Status with a detail of a type that nobody here knows.
MESSAGE = "none of those: grüße"
ENCODED = MESSAGE.encode()
DETAILS = (
    b"\x08\x0b\x12" + bytes([len(ENCODED)]) + ENCODED + b"\x1a\x0d\n\x07x/a.B.C\x12\x02\x08\x01"
)


def price(request, quantity):
    return Price(title=request.title, cents=quantity * 250)


def quote(request, context):
    metadata = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-head", metadata.get("x-word", "")), ("x-head-bin", b"\x00\xff")))
    if request.quantity < 0:
        context.set_trailing_metadata((("x-why", "negative"), ("grpc-status-details-bin", DETAILS)))
        context.abort(grpc.StatusCode.OUT_OF_RANGE, MESSAGE)
    context.set_trailing_metadata((("x-namespace", metadata["x-collector-namespace"]),))
    return price(request, request.quantity)


def list_prices(request, _context):
    for quantity in range(1, request.quantity + 1):
        yield price(request, quantity)


def total(requests, _context):
    everything = list(requests)
    return Price(
        title=" ".join(request.title for request in everything),
        cents=sum(request.quantity for request in everything) * 250,
    )


def haggle(requests, _context):
    for request in requests:
        yield price(request, request.quantity)


def served(make, behavior):
    return make(
        behavior,
        request_deserializer=Request.FromString,
        response_serializer=Price.SerializeToString,
    )


handlers = {
    "Quote": served(grpc.unary_unary_rpc_method_handler, quote),
    "List": served(grpc.unary_stream_rpc_method_handler, list_prices),
    "Sum": served(grpc.stream_unary_rpc_method_handler, total),
    "Haggle": served(grpc.stream_stream_rpc_method_handler, haggle),
}
server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
server.add_generic_rpc_handlers(
    (grpc.method_handlers_generic_handler("pricing.v1.Pricing", handlers),)
)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
