import assert from "node:assert/strict";
import { isIP, isIPv4 } from "node:net";
import { describe, it } from "node:test";
import fc from "fast-check";
import { parseEndpoint, plainAddress } from "./endpoint.ts";
import { PeerList } from "./peer-list.ts";

/** Whether a list allows an address that an endpoint was resolved to. */
function allows(entries: readonly string[], host: string, address: string, port = 80): boolean {
  return PeerList.parse(entries, false).allows(host, address, port);
}

describe("parseEndpoint", () => {
  it("reads host and port, with or without a scheme", () => {
    assert.deepEqual(parseEndpoint("Peer.example:50051"), {
      secure: false,
      host: "peer.example",
      port: 50_051,
      url: "http://peer.example:50051",
    });
    assert.equal(parseEndpoint("https://10.0.0.1:443")?.url, "https://10.0.0.1:443");
    assert.equal(parseEndpoint("[0:0::1]:80")?.url, "http://[::1]:80");
  });

  it("reads nothing else", () => {
    const odd = [
      "",
      "peer",
      "peer:",
      ":80",
      "peer:0",
      "peer:080",
      "peer:65536",
      "peer:1e3",
      "peer:80/",
      "http://peer:80/path",
      "http://user@peer:80",
      "http://user:secret@peer:80",
      "http://peer:80?q",
      "http://peer:80#f",
      "ftp://peer:80",
      "unix:///run/x.sock",
      "unix:x.sock:80",
      "dns:///peer:80",
      "HTTP://peer:80",
      "http:peer:80",
      "2130706433:80",
      "http://2130706433:2379",
      "0x7f000001:80",
      "0x7f.1:80",
      "0x:80",
      "127.1:80",
      "127.0.0.01:80",
      "0177.0.0.1:80",
      "127.0.0.1.:80",
      "peer.:80",
      "peer..example:80",
      "-peer:80",
      "1.2.3.4.5:80",
      "::1:80",
      "[::ffff:127.0.0.1]:6379",
      "[::ffff:7f00:1]:6379",
      "[::127.0.0.1]:80",
      "[fe80::1%eth0]:80",
      "[::1]",
      "[peer]:80",
      "peer\u0000:80",
      "peer\n:80",
      "１２７.0.0.1:80",
      "ⓛocalhost:80",
      `${"a".repeat(300)}:80`,
      `${"a.".repeat(130)}b:80`,
    ];
    assert.deepEqual(
      odd.filter((text) => parseEndpoint(text) !== undefined),
      [],
    );
  });

  it("takes of any text only what has one meaning", () => {
    const part = fc.oneof(
      fc.constantFrom("127", "0x7f", "0177", "1", "::ffff:", "[", "]", "@", "/", ":", ".", "%"),
      fc.constantFrom("http://", "https://", "localhost", "peer.example", "80", "2130706433"),
      fc.string({ unit: "binary", maxLength: 3 }),
      fc.ipV4(),
      fc.ipV6(),
      fc.ipV4Extended(),
    );
    const text = fc.array(part, { maxLength: 8 }).map((parts) => parts.join(""));
    fc.assert(
      fc.property(fc.oneof(text, fc.webUrl(), fc.webAuthority(), fc.string()), (value) => {
        const endpoint = parseEndpoint(value);
        if (endpoint === undefined) return;
        const { hostname, port, protocol, username, pathname } = new URL(endpoint.url);
        // Whoever else reads the text must come to the same host.
        assert.equal(hostname, isIP(endpoint.host) === 6 ? `[${endpoint.host}]` : endpoint.host);
        const defaultPort = protocol === "https:" ? 443 : 80;
        assert.equal(port === "" ? defaultPort : Number(port), endpoint.port);
        assert.deepEqual([username, pathname], ["", "/"]);
        assert.deepEqual(parseEndpoint(endpoint.url), endpoint);
      }),
    );
  });
});

describe("plainAddress", () => {
  it("has one form for every spelling of an address", () => {
    assert.equal(plainAddress("::ffff:169.254.169.254"), "169.254.169.254");
    assert.equal(plainAddress("::ffff:a9fe:a9fe"), "169.254.169.254");
    assert.equal(plainAddress("fe80:0:0::1%eth0"), "fe80::1");
    assert.equal(plainAddress("::1"), "::1");
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        assert.equal(plainAddress(`::ffff:${address}`), address);
      }),
    );
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        const plain = plainAddress(address);
        assert.ok(isIPv4(plain) || plainAddress(plain) === plain, plain);
      }),
    );
  });
});

describe("PeerList", () => {
  it("allows names, suffixes, addresses and ranges, with and without ports", () => {
    assert.ok(allows(["peer.example:80"], "peer.example", "10.0.0.1"));
    assert.ok(!allows(["peer.example:81"], "peer.example", "10.0.0.1"));
    assert.ok(allows(["Peer.Example"], "peer.example", "10.0.0.1", 1234));
    assert.ok(allows(["peer.example:*"], "peer.example", "10.0.0.1", 1234));
    assert.ok(allows(["*.example"], "a.b.example", "10.0.0.1"));
    assert.ok(!allows(["*.example"], "example", "10.0.0.1"));
    assert.ok(!allows(["*.example"], "badexample", "10.0.0.1"));
    assert.ok(allows(["10.0.0.0/8:80"], "anything.example", "10.1.2.3"));
    assert.ok(!allows(["10.0.0.0/8:80"], "anything.example", "11.1.2.3"));
    assert.ok(allows(["[fd00::/8]:80", "fd01::1"], "fd00::2", "fd00::2"));
    assert.ok(allows(["fd01::1"], "fd01::1", "fd01::1", 9));
    assert.ok(!allows([], "10.0.0.1", "10.0.0.1"));
  });

  it("lets no listed name lead to this machine, its link or a group", () => {
    const addresses = [
      "127.0.0.1",
      "::1",
      "169.254.169.254",
      "fe80::1",
      "0.0.0.0",
      "::",
      "224.0.0.1",
    ];
    for (const address of addresses) {
      assert.ok(!allows(["peer.example"], "peer.example", address), address);
      assert.ok(allows(["peer.example", address], "peer.example", address), address);
    }
    assert.ok(allows(["localhost:80"], "localhost", "127.0.0.1"));
    assert.ok(!allows(["localhost:80"], "localhost", "169.254.169.254"));
  });

  it("allows loopback by default only where it is told so, and only by its own names", () => {
    const local = PeerList.parse([], true);
    assert.ok(local.allows("127.0.0.1", "127.0.0.1", 6379));
    assert.ok(local.allows("localhost", "::1", 6379));
    assert.ok(!local.allows("rebound.example", "127.0.0.1", 6379));
    assert.ok(!local.mayAllow("rebound.example", 6379));
    assert.ok(!local.allows("0.0.0.0", "0.0.0.0", 6379));
    assert.ok(!PeerList.parse([], false).allows("127.0.0.1", "127.0.0.1", 6379));
  });

  it("refuses entries that are none, naming them", () => {
    const odd = [
      "",
      "peer:0",
      "peer:x",
      "10.0.0.0/33",
      "0x7f.1",
      "*",
      "*.",
      "http://peer:80",
      "[peer]:80",
      "::ffff:10.0.0.0/104",
      "a b",
    ];
    for (const entry of odd) {
      assert.throws(() => PeerList.parse([entry], false), { reason: "ARGUMENT_INVALID" }, entry);
    }
  });
});
