import { css } from '@emotion/css';
import type { GrafanaTheme2, TimeRange } from '@grafana/data';
import { Combobox, LinkButton, MultiCombobox, RefreshPicker, TimeRangePicker, ToolbarButton, useStyles2, useTheme2 } from '@grafana/ui';
import { setParameters } from './address';
import type { Dashboard } from './dashboard';
import { ALL, type Variable } from './interpolation';
import { linkAddress } from './links';
import { rangeText, shifted } from './time';
import { dependents } from './variables';
import type { View } from './view';

interface ControlsProps {
  dashboard: Dashboard;
  view: View | undefined;
  timeRange: TimeRange;
  refresh: string;
  onRefresh: () => void;
  onThemeChange: () => void;
}

/** How often a page may refresh itself. */
const INTERVALS = ['5s', '10s', '30s', '1m', '5m', '15m'];

export function Controls({ dashboard, view, timeRange, refresh, onRefresh, onThemeChange }: ControlsProps) {
  const styles = useStyles2(getStyles);
  const theme = useTheme2();
  const setTime = ({ from, to }: { from: string; to: string }) => {
    setParameters({ from: [from], to: [to] });
  };
  const choose = (variable: Variable, values: string[]) => {
    const parameters: Record<string, string[]> = { [`var-${variable.name}`]: values };
    for (const name of dependents(dashboard.templating.list, variable.name)) {
      parameters[`var-${name}`] = [];
    }
    setParameters(parameters);
  };
  return (
    <header className={styles.header}>
      <div className={styles.line}>
        <h1 className={styles.title} title={dashboard.description}>
          {dashboard.title}
        </h1>
        <nav className={styles.links} aria-label="Dashboards">
          {view &&
            dashboard.links.map((link) => (
              <LinkButton
                key={link.title}
                href={linkAddress(link, view.scope, timeRange)}
                tooltip={link.tooltip}
                target={link.targetBlank ? '_blank' : undefined}
                variant="secondary"
                fill="text"
                size="sm"
              >
                {link.title}
              </LinkButton>
            ))}
        </nav>
      </div>
      <div className={styles.line}>
        <div className={styles.variables}>
          {view?.scope.variables
            .filter((variable) => !variable.hidden)
            .map((variable) => (
              <VariablePicker
                key={variable.name}
                variable={variable}
                onChange={(values) => {
                  choose(variable, values);
                }}
              />
            ))}
        </div>
        <div className={styles.time}>
          <TimeRangePicker
            value={timeRange}
            timeZone={dashboard.timezone}
            onChange={({ raw }) => {
              setTime({ from: rangeText(raw.from), to: rangeText(raw.to) });
            }}
            onChangeTimeZone={() => undefined}
            onMoveBackward={() => {
              setTime(shifted(timeRange, -0.5, -0.5));
            }}
            onMoveForward={() => {
              setTime(shifted(timeRange, 0.5, 0.5));
            }}
            onZoom={() => {
              setTime(shifted(timeRange, -0.5, 0.5));
            }}
          />
          <RefreshPicker
            value={refresh}
            intervals={INTERVALS}
            onRefresh={onRefresh}
            onIntervalChanged={(interval) => {
              setParameters({ refresh: [interval] });
            }}
          />
          <ToolbarButton icon="adjust-circle" tooltip={theme.isDark ? 'Light theme' : 'Dark theme'} onClick={onThemeChange} />
        </div>
      </div>
    </header>
  );
}

function VariablePicker({ variable, onChange }: { variable: Variable; onChange: (values: string[]) => void }) {
  const styles = useStyles2(getStyles);
  const { name, label, multi, includeAll, selected } = variable;
  const id = `variable-${name}`;
  const options = [
    ...(includeAll ? [{ label: 'All', value: ALL }] : []),
    // A value of the address that is no option any more is still what is shown.
    ...[...new Set([...variable.options, ...selected.filter((value) => value !== ALL)])].map((value) => ({ label: value, value })),
  ];
  return (
    <div className={styles.variable}>
      <label htmlFor={id} className={styles.label}>
        {label}
      </label>
      {multi ? (
        <MultiCombobox
          id={id}
          width="auto"
          minWidth={16}
          maxWidth={60}
          options={options}
          value={selected}
          onChange={(chosen) => {
            onChange(withoutAll(chosen.map(({ value }) => value), selected, includeAll));
          }}
        />
      ) : (
        <Combobox
          id={id}
          width="auto"
          minWidth={16}
          maxWidth={40}
          options={options}
          value={selected[0] ?? null}
          onChange={({ value }) => {
            onChange([value]);
          }}
        />
      )}
    </div>
  );
}

/** "All" and single values exclude each other: what was chosen last stays. */
export function withoutAll(chosen: string[], before: string[], includeAll: boolean): string[] {
  if (!chosen.length) {
    return includeAll ? [ALL] : before;
  }
  const allIsNew = chosen.includes(ALL) && !before.includes(ALL);
  return allIsNew ? [ALL] : chosen.filter((value) => value !== ALL || chosen.length === 1);
}

const getStyles = (theme: GrafanaTheme2) => ({
  header: css({
    position: 'sticky',
    top: 0,
    zIndex: theme.zIndex.navbarFixed,
    padding: theme.spacing(1, 2),
    display: 'flex',
    flexDirection: 'column',
    gap: theme.spacing(1),
    background: theme.colors.background.canvas,
    borderBottom: `1px solid ${theme.colors.border.weak}`,
    // On a phone the panels need the room more than the controls do.
    [theme.breakpoints.down('sm')]: { position: 'static', padding: theme.spacing(1) },
  }),
  line: css({ display: 'flex', flexWrap: 'wrap', alignItems: 'center', justifyContent: 'space-between', gap: theme.spacing(1) }),
  title: css({ margin: 0, fontSize: theme.typography.h4.fontSize, whiteSpace: 'nowrap' }),
  links: css({ display: 'flex', flexWrap: 'wrap' }),
  variables: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1, 2) }),
  variable: css({ display: 'flex', alignItems: 'center', gap: theme.spacing(1) }),
  label: css({ margin: 0, whiteSpace: 'nowrap', fontSize: theme.typography.bodySmall.fontSize, color: theme.colors.text.secondary }),
  time: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1), marginLeft: 'auto' }),
});
