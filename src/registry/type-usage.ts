/** What the registry asks the catalog of collections. Answers cost no I/O. */
export interface TypeUsage {
  /** Names of the namespace's collections whose type is one of `typeNames`, in any order. */
  collectionsUsing(namespace: string, typeNames: ReadonlySet<string>): readonly string[];
  hasCollections(namespace: string): boolean;
  /** Whether something here runs a service. */
  isServed?(namespace: string, serviceName: string): boolean;
}
