/**
 * Transformations, overrides and display of fields.
 *
 * The functions are Grafana's; what they look names up in is filled by Grafana itself and not published, so it is
 * filled here.
 */
import {
  applyFieldOverrides,
  cacheFieldDisplayNames,
  Registry,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
  type DataFrame,
  type FieldConfigPropertyItem,
  type FieldConfigSource,
  type GrafanaTheme2,
  type InterpolateFunction,
} from '@grafana/data';
import { lastValueFrom } from 'rxjs';
import type { Panel } from './dashboard';
import { safeAddress } from './links';

standardTransformersRegistry.setInit(() => {
  // Grafana itself fills the registry from elsewhere; nothing else that is published has the transformers.
  // eslint-disable-next-line @typescript-eslint/no-deprecated
  const byId = new Map(Object.values(standardTransformers).map((transformer) => [transformer.id, transformer]));
  return [...byId.values()].map((transformer) => ({
    id: transformer.id,
    name: transformer.name,
    transformation: () => Promise.resolve(transformer),
    editor: () => null,
    imageDark: '',
    imageLight: '',
  }));
});

const STANDARD_PROPERTIES = ['unit', 'min', 'max', 'decimals', 'displayName', 'noValue', 'thresholds', 'mappings', 'links', 'color'];

function property(id: string): FieldConfigPropertyItem {
  const isCustom = id.startsWith('custom.');
  return {
    id,
    name: id,
    path: isCustom ? id.slice('custom.'.length) : id,
    isCustom,
    process: (value: unknown) => value,
    shouldApply: () => true,
    // Of editors, which there are none of here.
    editor: () => null,
    override: () => null,
  };
}

/** A registry of what this panel's configuration has. */
function registryFor(config: FieldConfigSource): Registry<FieldConfigPropertyItem> {
  const ids = new Set([
    ...STANDARD_PROPERTIES,
    ...Object.keys((config.defaults.custom as object | undefined) ?? {}).map((name) => `custom.${name}`),
    ...config.overrides.flatMap((override) => override.properties.map(({ id }) => id)),
  ]);
  return new Registry(() => [...ids].map(property));
}

export interface FieldOptions {
  theme: GrafanaTheme2;
  timeZone: string;
  replace: InterpolateFunction;
}

/** Transform a panel's frames and give every field its configuration, display and links. */
export async function prepareFrames(panel: Panel, frames: DataFrame[], options: FieldOptions): Promise<DataFrame[]> {
  const { theme, timeZone, replace } = options;
  const steps = (panel.transformations ?? []).filter((step) => !step.disabled);
  const unknown = steps.find((step) => !standardTransformersRegistry.getIfExists(step.id));
  if (unknown) {
    throw new Error(`this transformation is not known to the preview: ${unknown.id}`);
  }
  const transformed = steps.length ? await lastValueFrom(transformDataFrame(steps, frames, { interpolate: replace })) : frames;
  const fieldConfig = { defaults: panel.fieldConfig?.defaults ?? {}, overrides: panel.fieldConfig?.overrides ?? [] };
  const prepared = applyFieldOverrides({
    data: transformed,
    fieldConfig,
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- the same registry under another name
    fieldConfigRegistry: registryFor(fieldConfig),
    replaceVariables: replace,
    theme,
    timeZone,
    dataLinkPostProcessor: ({ linkModel }) => ({ ...linkModel, href: safeAddress(linkModel.href) }),
  });
  cacheFieldDisplayNames(prepared);
  return prepared;
}
