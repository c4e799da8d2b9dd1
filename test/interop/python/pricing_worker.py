"""Runs pricing.v1.Pricing as an attached worker; says `attached` on stdout once it is.

usage: pricing_worker.py ADDRESS NAMESPACE < FileDescriptorSet of the collector's and the service's files
"""

import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from collector_worker import Failure, Worker

SERVICE = "pricing.v1.Pricing"
TYPES = """AttachRequest AttachRequest.Hello AttachResponse AttachDrain TunnelFrames TunnelFrame
TunnelHeaders TunnelTrailers TunnelMetadatum""".split()
PIECE_CENTS = 250


def message_class(pool, name):
    type_ = pool.FindMessageTypeByName(name)
    if hasattr(message_factory, "GetMessageClass"):  # protobuf 4.22 and later
        return message_factory.GetMessageClass(type_)
    return message_factory.MessageFactory(pool).GetPrototype(type_)


def main():
    address, namespace = sys.argv[1:]
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(sys.stdin.buffer.read()).file:
        pool.Add(file)
    types = {name: message_class(pool, f"collector.{name}") for name in TYPES}
    Request, Price = (message_class(pool, f"pricing.v1.{name}") for name in ("QuoteRequest", "Price"))

    def price(title, quantity):
        return Price(title=title, cents=quantity * PIECE_CENTS).SerializeToString()

    def requests(call):
        return (Request.FromString(message) for message in call.messages())

    def quote(call):
        (request,) = requests(call)
        if request.quantity < 0:
            raise Failure(11, "not so few", [("x-why", "negative")])
        call.send_headers([("x-worker", "python")])
        yield price(request.title, request.quantity)

    def list_(call):
        (request,) = requests(call)
        for quantity in range(1, request.quantity + 1):
            yield price(request.title, quantity)

    def sum_(call):
        all_ = list(requests(call))
        yield price(" ".join(request.title for request in all_), sum(request.quantity for request in all_))

    def haggle(call):
        for request in requests(call):
            yield price(request.title, request.quantity)

    methods = {"Quote": quote, "List": list_, "Sum": sum_, "Haggle": haggle}
    handlers = {f"/{SERVICE}/{name}": handler for name, handler in methods.items()}
    with grpc.insecure_channel(address) as channel:
        worker = Worker(channel, types, handlers, namespace=namespace, services=[SERVICE], worker_id="python")
        worker.run(lambda welcome: print("attached", flush=True))


if __name__ == "__main__":
    main()
