import { mkdir, mkdtemp, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { CollectionCatalog } from "../../collections/catalog.ts";
import { timestampOfUs } from "../../collections/record-answers.ts";
import { openSystemRecords } from "../../collections/system-collections.ts";
import type { SystemRecords } from "../../collections/system-records.ts";
import { CollectorError } from "../../errors.ts";
import {
  type BackupPolicy,
  type BackupPolicy_Run,
  BackupPolicySchema,
} from "../../gen/collector/backups_pb.ts";
import { CollectionSchema } from "../../gen/collector/collection_pb.ts";
import {
  type BackupMetadata,
  BackupMetadata_Content,
  BackupMetadataSchema,
} from "../../gen/collector/collection_repo_pb.ts";
import { OperationSchema } from "../../gen/collector/operations_pb.ts";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import type { Clock } from "../../lib/clock.ts";
import { defaultLimits } from "../../lib/limits.ts";
import { silentLog } from "../../lib/log.ts";
import { OperationStore } from "../../operations/operation-store.ts";
import { SqliteEngine } from "../../storage/sqlite/sqlite-engine.ts";
import type { BackupCatalog, CreateBackup } from "../backup-parts.ts";
import type { CopyRun } from "../copy-parts.ts";
import { BackupPolicies } from "../policies/backup-policies.ts";
import type { ServerBackup, SetFailure } from "../sets/server-backup.ts";

/** A policy of a namespace. */
export const nightly: Parameters<PoliciesFixture["put"]>[0] = {
  name: "nightly",
  namespace: "shop",
  schedule: { case: "cron", value: "0 3 * * *" },
};

/** A policy of a collection. */
export const hourly: Parameters<PoliciesFixture["put"]>[0] = {
  name: "hourly",
  namespace: "shop",
  collectionName: "products",
  schedule: { case: "interval", value: durationFromMs(3_600_000) },
};

type PoliciesBackups = Pick<BackupCatalog, "all" | "chainOf" | "create" | "delete" | "isHeld">;

/** A clock that stands still until it is told. */
export class ManualClock implements Clock {
  #nowUs: bigint;

  constructor(text: string) {
    this.#nowUs = usOf(text);
  }

  nowUs(): bigint {
    return this.#nowUs;
  }

  set(text: string): void {
    this.#nowUs = usOf(text);
  }

  passMs(ms: number): void {
    this.#nowUs += BigInt(ms) * 1000n;
  }
}

/** Backups that cost nothing: each is a small file. */
export class LightBackups implements PoliciesBackups {
  readonly requests: CreateBackup[] = [];
  readonly held: Set<string> = new Set();
  /** What a backup of a collection fails with, by the collection's name. */
  readonly failures: Map<string, Error> = new Map();
  /** What a backup waits for before it is made. */
  gate: Promise<void> = Promise.resolve();
  readonly #clock: Clock;
  readonly #folder: string;
  readonly #backups = new Map<string, BackupMetadata>();
  #running = 0;
  #made = 0;
  /** Most backups that were made at a time. */
  runningMax = 0;

  constructor(clock: Clock, folder: string) {
    this.#clock = clock;
    this.#folder = folder;
  }

  /** The newest first: real ids begin with the time of the clock that they are of. */
  all(): readonly BackupMetadata[] {
    return [...this.#backups.values()]
      .toReversed()
      .sort((one, other) => Number(other.timestamp - one.timestamp));
  }

  isHeld(backupId: string): boolean {
    return this.held.has(backupId);
  }

  chainOf(backupId: string): { readonly backup: BackupMetadata; readonly path: string }[] {
    const backup = this.#backups.get(backupId);
    if (backup === undefined) throw new CollectorError("BACKUP_NOT_FOUND", "no such backup");
    const { baseBackupId } = backup;
    const before = baseBackupId === "" ? [] : this.chainOf(baseBackupId);
    return [...before, { backup, path: join(this.#folder, backupId) }];
  }

  async create(request: CreateBackup, { signal }: CopyRun): Promise<BackupMetadata> {
    this.requests.push(request);
    this.#running += 1;
    this.runningMax = Math.max(this.runningMax, this.#running);
    try {
      signal.throwIfAborted();
      const stopped = Promise.withResolvers<never>();
      signal.addEventListener("abort", () => stopped.reject(signal.reason), { once: true });
      await Promise.race([this.gate, stopped.promise]);
      const { name, namespace, preferredBaseId = "", metadata, policy = "" } = request;
      const failure = this.failures.get(name);
      if (failure !== undefined) throw failure;
      return await this.put({
        collection: { namespace, name },
        metadata: { ...metadata },
        policy,
        baseBackupId: request.incremental ? preferredBaseId : "",
        includesFiles: request.includeFiles,
        setId: request.setId ?? "",
      });
    } finally {
      this.#running -= 1;
    }
  }

  /** Adds a backup of now. */
  async put(
    more: MessageInitShape<typeof BackupMetadataSchema>,
    nowUs: bigint = this.#clock.nowUs(),
  ): Promise<BackupMetadata> {
    this.#made += 1;
    const backupId = `backup-${String(this.#made).padStart(4, "0")}`;
    const { name = "", namespace = "" } = more.collection ?? {};
    const backup = create(BackupMetadataSchema, {
      backupId,
      collectionId: `id of ${namespace}/${name}`,
      createTime: timestampOfUs(nowUs),
      timestamp: nowUs / 1_000_000n,
      sizeBytes: BigInt(backupId.length),
      complete: true,
      ...more,
    });
    this.#backups.set(backupId, backup);
    await writeFile(join(this.#folder, backupId), backupId);
    return backup;
  }

  /** Adds a backup of the registry, of now. */
  async putRegistry(more: MessageInitShape<typeof BackupMetadataSchema>): Promise<BackupMetadata> {
    return await this.put({ ...more, content: BackupMetadata_Content.REGISTRY, collectionId: "" });
  }

  /** Says that something was found wrong with a backup. */
  condemn(backupId: string): void {
    const backup = this.#backups.get(backupId);
    if (backup !== undefined) this.#backups.set(backupId, { ...backup, verifyError: "damaged" });
  }

  /** Cuts an archive short, which nobody has noticed yet. */
  async damage(backupId: string): Promise<void> {
    await truncate(join(this.#folder, backupId), 1);
  }

  async delete(backupId: string): Promise<bigint> {
    if (this.held.has(backupId)) throw new CollectorError("BACKUP_IN_USE", "it is being read");
    if (this.all().some(({ baseBackupId }) => baseBackupId === backupId)) {
      throw new CollectorError("BACKUP_IN_USE", "another is based on it");
    }
    const path = join(this.#folder, backupId);
    const { size } = await stat(path);
    await rm(path);
    this.#backups.delete(backupId);
    return BigInt(size);
  }
}

/** Policies on an engine of their own, with a clock that stands still and light backups. */
export class PoliciesFixture implements AsyncDisposable {
  readonly clock: ManualClock;
  readonly backups: LightBackups;
  readonly operations: OperationStore;
  readonly records: SystemRecords<BackupPolicy>;
  readonly limits: typeof defaultLimits;
  policies!: BackupPolicies;
  /** Full names. */
  readonly collections: string[] = ["shop/products", "shop/orders", "lab/notes"];
  readonly #folder: string;
  readonly #engine: SqliteEngine;
  #setCount = 0;

  private constructor(
    parts: Pick<PoliciesFixture, "clock" | "backups" | "operations" | "records" | "limits">,
    folder: string,
    engine: SqliteEngine,
  ) {
    this.clock = parts.clock;
    this.backups = parts.backups;
    this.operations = parts.operations;
    this.records = parts.records;
    this.limits = parts.limits;
    this.#folder = folder;
    this.#engine = engine;
  }

  static async open(
    now = "2026-11-27T10:00:00Z",
    limited: Partial<typeof defaultLimits> = {},
  ): Promise<PoliciesFixture> {
    const folder = await mkdtemp(join(tmpdir(), "collector-policies-"));
    const archives = join(folder, "archives");
    await mkdir(archives);
    const limits = { ...defaultLimits, ...limited };
    const clock = new ManualClock(now);
    const dataFolder = join(folder, "data");
    await mkdir(dataFolder);
    const engine = await SqliteEngine.open({ dataFolder, limits });
    const parts = {
      clock,
      limits,
      backups: new LightBackups(clock, archives),
      records: await openSystemRecords(engine, BackupPolicySchema, "policies", limits),
      operations: await OperationStore.open({
        records: await openSystemRecords(engine, OperationSchema, "operations", limits),
        limits,
        toStatus: (error) => create(StatusSchema, { code: 2, message: String(error) }),
      }),
    };
    const fixture = new PoliciesFixture(parts, folder, engine);
    await fixture.start();
    return fixture;
  }

  /** Reads the policies as a server does that starts. What ran before is not waited for. */
  async start(): Promise<void> {
    const { records, backups, operations, limits, clock } = this;
    const log = silentLog;
    const find: CollectionCatalog["find"] = (namespace, name) =>
      this.#definitionsIn(namespace).find((one) => one.name === name);
    const catalog = { definitionsIn: this.#definitionsIn, find };
    const sets = { make: this.#makeSet };
    const parts = { records, backups, sets, operations, limits, clock, log, catalog };
    this.policies = await BackupPolicies.open(parts);
  }

  put(policy: MessageInitShape<typeof BackupPolicySchema>): Promise<BackupPolicy> {
    return this.policies.put(create(BackupPolicySchema, policy), false);
  }

  /** Looks what is due, and waits until it has run. */
  async look(): Promise<void> {
    await this.policies.look();
    await this.policies.settled();
  }

  async run(name: string, pruneOnly = false): Promise<BackupPolicy_Run> {
    const { signal } = new AbortController();
    return await this.policies.run(name, pruneOnly, { signal, report: () => undefined });
  }

  next(name: string): string | undefined {
    const { nextRunTime } = this.policies.get(name);
    if (nextRunTime === undefined) return undefined;
    return new Date(Number(nextRunTime.seconds) * 1000).toISOString();
  }

  get ids(): string[] {
    return this.backups.all().map(({ backupId }) => backupId);
  }

  readonly #definitionsIn: CollectionCatalog["definitionsIn"] = (namespace) => {
    const collections = this.collections.map((fullName) => {
      const [of = "", name = ""] = fullName.split("/");
      return create(CollectionSchema, { namespace: of, name, collectionId: `id of ${fullName}` });
    });
    return collections.filter((one) => namespace === "" || one.namespace === namespace);
  };

  readonly #makeSet: ServerBackup["make"] = async (request, run, onMade) => {
    const setId = `set ${(this.#setCount += 1)}`;
    const policy = "policy" in request ? request.policy : "";
    const failures: SetFailure[] = [];
    const collections = this.#definitionsIn("");
    for (const { namespace, name, collectionId } of collections) {
      const base = "policy" in request ? request.baseOf(collectionId) : undefined;
      const asked = {
        namespace,
        name,
        policy,
        setId,
        destPath: "",
        baseBackupId: "",
        metadata: request.metadata,
        compression: request.compression,
        includeFiles: !request.excludeFiles,
        incremental: base !== undefined,
        preferredBaseId: base,
      };
      try {
        onMade(await this.backups.create(asked, run));
      } catch (error) {
        if (!(error instanceof CollectorError)) throw error;
        failures.push({ of: `${namespace}/${name}`, error });
      }
    }
    onMade(await this.backups.putRegistry({ policy, setId }));
    return { setId, failures, total: BigInt(collections.length + 1) };
  };

  async [Symbol.asyncDispose](): Promise<void> {
    await this.policies[Symbol.asyncDispose]();
    await this.operations.close();
    await this.#engine.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function usOf(text: string): bigint {
  return BigInt(Date.parse(text)) * 1000n;
}
