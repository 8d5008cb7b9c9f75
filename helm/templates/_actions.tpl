{{/* Where routes and Python actions come from, and where the agent finds them. */}}

{{/* The routes file's ConfigMap, ours or another; empty where the file is none. */}}
{{- define "action-agent.routesConfigMap" -}}
{{- if or .Values.routes.list .Values.routes.file -}}
{{ include "action-agent.fullname" . }}-routes
{{- else -}}
{{ .Values.routes.existingConfigMap | default "" }}
{{- end }}
{{- end }}

{{- define "action-agent.routesPath" -}}
{{- if .Values.routes.path -}}
{{ .Values.routes.path }}
{{- else if .Values.routes.existingConfigMap -}}
/etc/action-agent/routes/{{ .Values.routes.key }}
{{- else if include "action-agent.routesConfigMap" . -}}
/etc/action-agent/routes/routes.yaml
{{- end }}
{{- end }}

{{/* The routes that the values hold, as JSON: {"routes": […]}. */}}
{{- define "action-agent.givenRoutes" -}}
{{- $routes := .Values.routes.list -}}
{{- with .Values.routes.file }}{{ $routes = (fromYaml .).routes }}{{ end -}}
{{- $given := list -}}
{{- if kindIs "slice" $routes -}}
  {{- range $routes }}{{ if kindIs "map" . }}{{ $given = append $given . }}{{ end }}{{ end -}}
{{- end -}}
{{- toJson (dict "routes" $given) -}}
{{- end }}

{{/* Programs that these routes call where scripts are mounted, and that scripts.files does not have. With a cwd of its own a
     route means another place. */}}
{{- define "action-agent.missingScripts" -}}
{{- $missing := list -}}
{{- if not .Values.scripts.existingConfigMap -}}
  {{- range (include "action-agent.givenRoutes" . | fromJson).routes -}}
    {{- if kindIs "map" .process -}}
      {{- if and (kindIs "slice" .process.command) .process.command (not .process.cwd) -}}
        {{- $program := first .process.command | toString -}}
        {{- $name := trimPrefix "./scripts/" $program -}}
        {{- if and (regexMatch "^\\./scripts/[^/{]+$" $program) (not (hasKey ($.Values.scripts.files | default dict) $name)) -}}
          {{- $missing = append $missing $program -}}
        {{- end -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- uniq $missing | join ", " -}}
{{- end }}

{{/* Whether one of these routes calls Python actions. */}}
{{- define "action-agent.hasPythonRoutes" -}}
{{- range (include "action-agent.givenRoutes" . | fromJson).routes }}{{ if hasKey . "python" }}yes{{ end }}{{ end -}}
{{- end }}

{{- define "action-agent.hasPythonConfigMap" -}}
{{- if or .Values.python.files .Values.python.existingConfigMap }}yes{{ end }}
{{- end }}

{{- define "action-agent.pythonPath" -}}
{{- $mounted := "" -}}
{{- if include "action-agent.hasPythonConfigMap" . }}{{ $mounted = "/etc/action-agent/python" }}{{ end -}}
{{- compact (list $mounted .Values.python.path) | join ":" }}
{{- end }}
