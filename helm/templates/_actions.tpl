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

{{- define "action-agent.hasPythonConfigMap" -}}
{{- if or .Values.python.files .Values.python.existingConfigMap }}yes{{ end }}
{{- end }}

{{- define "action-agent.pythonPath" -}}
{{- $mounted := "" -}}
{{- if include "action-agent.hasPythonConfigMap" . }}{{ $mounted = "/etc/action-agent/python" }}{{ end -}}
{{- compact (list $mounted .Values.python.path) | join ":" }}
{{- end }}
