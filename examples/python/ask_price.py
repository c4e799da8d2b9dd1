"""Asks pricing.v1.Pricing for a price at any collector that is linked to the one that the service is registered with.

    python3 ask_price.py 127.0.0.1:50052 tea 3
"""

import sys

import grpc

import pricing_pb2


def main():
    collector, title, quantity = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with grpc.insecure_channel(collector) as channel:
        quote = channel.unary_unary(
            "/pricing.v1.Pricing/Quote",
            request_serializer=pricing_pb2.QuoteRequest.SerializeToString,
            response_deserializer=pricing_pb2.Price.FromString,
        )
        try:
            price = quote(pricing_pb2.QuoteRequest(title=title, quantity=quantity), timeout=10)
        except grpc.RpcError as error:
            sys.exit(f"{error.code().name}: {error.details()}")
    print(f"{price.title}: {price.cents} cents")


if __name__ == "__main__":
    main()
