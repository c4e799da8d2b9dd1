"""A service in Python that a collector learns of while it runs: serves pricing.v1.Pricing by grpcio, and registers it.

    python3 pricing_service.py 127.0.0.1:50051

From then on /pricing.v1.Pricing/Quote is a method of that collector, and of every collector that is linked to it. See
the README beside this file. Ctrl-C takes it away again.
"""

import signal
import sys
from concurrent import futures

import grpc
from collector import registry_pb2, service_hosts_pb2
from google.protobuf import descriptor_pb2

import pricing_pb2

PIECE_CENTS = 250


def price(request):
    return pricing_pb2.Price(title=request.title, cents=request.quantity * PIECE_CENTS)


def quote(request, context):
    if request.quantity < 1:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "quantity must be at least 1")
    return price(request)


def list_prices(request, _context):
    for quantity in range(1, request.quantity + 1):
        yield pricing_pb2.Price(title=request.title, cents=quantity * PIECE_CENTS)


def total(requests, _context):
    return pricing_pb2.Price(cents=sum(request.quantity for request in requests) * PIECE_CENTS)


def haggle(requests, _context):
    for request in requests:
        yield price(request)


def served(make, behaviour):
    return make(
        behaviour,
        request_deserializer=pricing_pb2.QuoteRequest.FromString,
        response_serializer=pricing_pb2.Price.SerializeToString,
    )


def start():
    """Serves on a free port of this machine; any gRPC server will do."""
    methods = {
        "Quote": served(grpc.unary_unary_rpc_method_handler, quote),
        "List": served(grpc.unary_stream_rpc_method_handler, list_prices),
        "Sum": served(grpc.stream_unary_rpc_method_handler, total),
        "Haggle": served(grpc.stream_stream_rpc_method_handler, haggle),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    handler = grpc.method_handlers_generic_handler("pricing.v1.Pricing", methods)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"


def register(collector, address):
    """Tells the collector what the service is and who runs it. Its types go along; doing it again changes nothing."""
    file = descriptor_pb2.FileDescriptorProto()
    pricing_pb2.DESCRIPTOR.CopyToProto(file)
    request = registry_pb2.RegisterServiceRequest(
        file_descriptor=file,
        service_name="pricing.v1.Pricing",
        endpoints=[service_hosts_pb2.ServiceEndpoint(address=address)],
        idempotent_methods=["Quote"],
    )
    with grpc.insecure_channel(collector) as channel:
        call = channel.unary_unary(
            "/collector.CollectorRegistry/RegisterService",
            request_serializer=registry_pb2.RegisterServiceRequest.SerializeToString,
            response_deserializer=registry_pb2.RegisterServiceResponse.FromString,
        )
        call(request, timeout=10)


def main():
    server, address = start()
    register(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051", address)
    print(f"serving pricing.v1.Pricing on {address}", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop(grace=1))
    server.wait_for_termination()


if __name__ == "__main__":
    main()
