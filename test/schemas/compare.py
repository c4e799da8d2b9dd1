"""Checks messages that another implementation made.

Reads from the file named first a google.protobuf.FileDescriptorSet, and from standard input lines
of JSON: a list of the type's name, the message's bytes in base64, and its JSON form as a text.
Writes a line of JSON for each: a list of the bytes of what it read from the bytes, and of what it
read from the JSON form, both in base64, and its own JSON form; or a text that says what failed.
"""

import base64
import json
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory


def main():
    files = descriptor_pb2.FileDescriptorSet()
    with open(sys.argv[1], "rb") as source:
        files.ParseFromString(source.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    factory = message_factory.MessageFactory(pool)
    for line in sys.stdin:
        name, data, text = json.loads(line)
        try:
            print(json.dumps(check(pool, factory, name, base64.b64decode(data), text)))
        except Exception as error:  # whatever it is, the caller shows it
            print(json.dumps("%s: %s" % (type(error).__name__, error)))


def check(pool, factory, name, data, text):
    message_class = factory.GetPrototype(pool.FindMessageTypeByName(name))
    from_bytes = message_class()
    from_bytes.ParseFromString(data)
    from_json = message_class()
    json_format.Parse(text, from_json, descriptor_pool=pool)
    return [
        base64.b64encode(from_bytes.SerializeToString(deterministic=True)).decode(),
        base64.b64encode(from_json.SerializeToString(deterministic=True)).decode(),
        json_format.MessageToJson(from_bytes, descriptor_pool=pool, ensure_ascii=False),
    ]


main()
