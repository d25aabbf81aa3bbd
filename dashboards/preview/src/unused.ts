/** Stands for the modules of @grafana/ui that this page leaves out; see vite.config.ts. */
export const loader = { config: () => undefined };
export default () => null;
