import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { curl } from "../support/curl.ts";
import { openFixture } from "../support/http-fixture.ts";

describe("The pages of a port", () => {
  it("tell a human what to do next", async () => {
    await using fixture = await openFixture();
    const page = await curl(`${fixture.url}/`);
    assert.equal(page.status, 200);
    assert.match(
      page.text,
      new RegExp(`${fixture.url}/collector\\.CollectorRegistry/ListServices`),
    );
    const http2 = await curl("--http2-prior-knowledge", `${fixture.url}/`);
    assert.match(http2.text, new RegExp(fixture.url));
  });

  it("say whether calls are taken", async () => {
    await using fixture = await openFixture();
    const url = `${fixture.url}/healthz`;
    assert.deepEqual(await curl(url).then(({ status, text }) => [status, text]), [200, "ok\n"]);
    assert.equal((await curl("-I", url)).text, "");
    fixture.health.drain();
    assert.deepEqual(await curl(url).then(({ status, text }) => [status, text]), [
      503,
      "draining\n",
    ]);
  });

  it("count calls by method, protocol and code for Prometheus", async () => {
    await using fixture = await openFixture();
    const json = ["-H", "content-type: application/json", "-d"];
    await curl(...json, "{}", `${fixture.url}/echo.v1.Echo/Unary`);
    await curl(...json, "{}", `${fixture.url}/echo.v1.Echo/Unary`);
    await curl(...json, '{"text":"RECORD_NOT_FOUND"}', `${fixture.url}/echo.v1.Echo/Fail`);
    const page = await curl(`${fixture.url}/metrics`);
    assert.match(page.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
    const lines = page.text.split("\n");
    const calls = (method: string, code: string): string =>
      `collector_calls_total{service="echo.v1.Echo",method="${method}",protocol="connect",code="${code}"}`;
    assert.ok(lines.includes(`${calls("Unary", "OK")} 2`), page.text);
    assert.ok(lines.includes(`${calls("Fail", "NOT_FOUND")} 1`));
    assert.match(page.text, /collector_call_duration_seconds_count\{.*method="Unary".*\} 2/);
    assert.match(page.text, /process_resident_memory_bytes \d/);
    assert.match(page.text, /collector_info\{version="0\.0\.0",node="v/);
  });

  it("can be added, whole paths and folders", async () => {
    await using fixture = await openFixture();
    fixture.port.addHttpRoute({
      method: "GET",
      path: "/console/",
      handle: (request, response) => {
        response.end(`page ${request.url ?? ""}`);
      },
    });
    fixture.port.addHttpRoute({
      method: "GET",
      path: "/broken",
      handle: () => Promise.reject(new Error("secret of the server")),
    });
    assert.equal(
      (await curl(`${fixture.url}/console/a/b.js?x=1`)).text,
      "page /console/a/b.js?x=1",
    );
    assert.equal((await curl(`${fixture.url}/other`)).status, 404);
    const broken = await curl(`${fixture.url}/broken`);
    assert.equal(broken.status, 500);
    assert.doesNotMatch(broken.text, /secret/);
    assert.equal(fixture.logged[0]?.message, "a page failed");
  });
});
