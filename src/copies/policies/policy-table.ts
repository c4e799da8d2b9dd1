import { toBinary } from "@bufbuild/protobuf";
import { KeyedLock } from "../../collections/keyed-lock.ts";
import type { SystemRecords } from "../../collections/system-records.ts";
import { CollectorError, invalidField } from "../../errors.ts";
import { type BackupPolicy, BackupPolicySchema } from "../../gen/collector/backups_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import { encodePageToken, type PageRequest, readPage } from "../../lib/page-token.ts";

/** Policies of one page, in bytes; what is over it comes on the next page. */
const pageBytesMax = 1024 * 1024;

/** Key of the lock: there are few changes. */
const everyPolicy = "";

export interface PoliciesPage {
  readonly policies: BackupPolicy[];
  readonly nextPageToken: string;
}

/** The policies of a server: in memory, and as records of `system`. */
export class PolicyTable {
  readonly #records: SystemRecords<BackupPolicy>;
  readonly #limits: Pick<Limits, "pageSizeDefault" | "pageSizeMax" | "policiesMax">;
  readonly #policies = new Map<string, BackupPolicy>();
  /** Changes are made one after the other. */
  readonly #turns = new KeyedLock();

  private constructor(
    records: SystemRecords<BackupPolicy>,
    limits: Pick<Limits, "pageSizeDefault" | "pageSizeMax" | "policiesMax">,
  ) {
    this.#records = records;
    this.#limits = limits;
  }

  static async open(
    records: SystemRecords<BackupPolicy>,
    limits: Pick<Limits, "pageSizeDefault" | "pageSizeMax" | "policiesMax">,
  ): Promise<PolicyTable> {
    const table = new PolicyTable(records, limits);
    for await (const { id, value } of records.all()) table.#policies.set(id, value);
    return table;
  }

  find(name: string): BackupPolicy | undefined {
    return this.#policies.get(name);
  }

  /** @throws {CollectorError} POLICY_NOT_FOUND, ARGUMENT_MISSING */
  get(name: string): BackupPolicy {
    const found = this.#policies.get(name);
    if (found !== undefined) return found;
    if (name === "") throw invalidField("ARGUMENT_MISSING", "name", "names no policy");
    throw new CollectorError("POLICY_NOT_FOUND", "there is no backup policy of this name", {
      subject: { policy: name.slice(0, 128) },
    });
  }

  /** In no order. */
  all(): Iterable<BackupPolicy> {
    return this.#policies.values();
  }

  /** By name. @throws {CollectorError} PAGE_SIZE_INVALID, PAGE_TOKEN_INVALID */
  list(request: PageRequest): PoliciesPage {
    const query = ["ListBackupPolicies"];
    const { size, after } = readPage(request, query, this.#limits);
    const names = [...this.#policies.keys()]
      .filter((name) => after === undefined || name > after)
      .sort();
    const policies: BackupPolicy[] = [];
    let bytes = 0;
    for (const name of names.slice(0, size)) {
      const policy = this.get(name);
      bytes += toBinary(BackupPolicySchema, policy).byteLength;
      if (bytes > pageBytesMax && policies.length > 0) break;
      policies.push(policy);
    }
    const last = policies.at(-1);
    const isLast = last === undefined || policies.length === names.length;
    return { policies, nextPageToken: isLast ? "" : encodePageToken(query, last.name) };
  }

  /**
   * Changes a policy, durably.
   *
   * @param change is given the policy as it is; what it answers takes its place, undefined changes nothing
   * @throws {CollectorError} QUOTA_EXCEEDED for a new one that is too many; what `change` throws, and the
   * storage's failures; then nothing has changed
   */
  async change(
    name: string,
    change: (current: BackupPolicy | undefined) => BackupPolicy | undefined,
  ): Promise<void> {
    await this.#turns.run([everyPolicy], async () => {
      const current = this.#policies.get(name);
      const changed = change(current);
      if (changed === undefined) return;
      this.refuseTooMany(name);
      await this.#save(changed);
      this.#policies.set(name, changed);
    });
  }

  /**
   * Notes what has happened: if that cannot be saved it is known nevertheless, and saved with the next
   * change. One that is gone meanwhile is no error.
   */
  async note(name: string, change: (current: BackupPolicy) => BackupPolicy): Promise<void> {
    await this.#turns.run([everyPolicy], async () => {
      const current = this.#policies.get(name);
      if (current === undefined) return;
      const changed = change(current);
      this.#policies.set(name, changed);
      await this.#save(changed);
    });
  }

  /** @throws {CollectorError} POLICY_NOT_FOUND, ARGUMENT_MISSING */
  async delete(name: string): Promise<void> {
    await this.#turns.run([everyPolicy], async () => {
      this.get(name);
      await this.#records.write([{ kind: "delete", id: name }]);
      this.#policies.delete(name);
    });
  }

  /** @throws {CollectorError} QUOTA_EXCEEDED if the policy would be one too many */
  refuseTooMany(name: string): void {
    const { policiesMax } = this.#limits;
    const { size } = this.#policies;
    if (this.#policies.has(name) || size < policiesMax) return;
    throw new CollectorError(
      "QUOTA_EXCEEDED",
      `there are ${size} backup policies, the limit policiesMax is ${policiesMax}`,
    );
  }

  #save(policy: BackupPolicy): Promise<void> {
    return this.#records.write([{ kind: "put", id: policy.name, value: policy }]);
  }
}
