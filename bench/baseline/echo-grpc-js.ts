import { Server, ServerCredentials } from "@grpc/grpc-js";

/** An empty handler under grpc-js: bytes in, fixed bytes out, no message is parsed. */
const answer = Buffer.alloc(Math.max(0, Number(process.argv[2] ?? 0) - 5), 1);
const bytes = {
  requestSerialize: (value: Buffer) => value,
  requestDeserialize: (value: Buffer) => value,
  responseSerialize: (value: Buffer) => value,
  responseDeserialize: (value: Buffer) => value,
};

const server = new Server();
server.addService(
  {
    get: {
      path: "/collector.CollectionService/Get",
      requestStream: false,
      responseStream: false,
      ...bytes,
    },
  },
  {
    get: (_call: unknown, done: (error: null, value: Buffer) => void) => done(null, answer),
  },
);
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  console.log(`http://127.0.0.1:${port} `);
});
