/** Where a collector listens unless it is told otherwise; by itself, for who needs nothing else of a client. */
export const localUrl = "http://127.0.0.1:50051";
