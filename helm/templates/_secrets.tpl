{{/* Which Secrets there are, what is in ours, and where the agent finds credentials and CAs. */}}

{{/* Whether the credentials are in a Secret that is there already. */}}
{{- define "action-agent.hasExistingSecret" -}}
{{- if or .Values.port.existingSecret .Values.secret.useExistingSecret }}yes{{ end }}
{{- end }}

{{/* The credentials' Secret, ours or another. */}}
{{- define "action-agent.credentialsSecret" -}}
{{- .Values.port.existingSecret | default (include "action-agent.ownSecret" .) }}
{{- end }}

{{/* The name of the Secret of this release; with secret.useExistingSecret, of the one in its place. */}}
{{- define "action-agent.ownSecret" -}}
{{- .Values.secret.name | default (include "action-agent.fullname" .) }}
{{- end }}

{{- define "action-agent.clientId" -}}
{{- .Values.port.clientId | default (.Values.env.secret).PORT_CLIENT_ID | default "" }}
{{- end }}

{{- define "action-agent.clientSecret" -}}
{{- .Values.port.clientSecret | default (.Values.env.secret).PORT_CLIENT_SECRET | default "" }}
{{- end }}

{{/* What our own Secret holds, as JSON; nothing: there is none. */}}
{{- define "action-agent.secretData" -}}
{{- $data := dict -}}
{{- if not .Values.secret.useExistingSecret -}}
  {{- range $name, $value := .Values.env.secret -}}
    {{- with include "action-agent.text" $value }}{{ $_ := set $data $name . }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- if include "action-agent.hasExistingSecret" . -}}
  {{- $data = omit $data "PORT_CLIENT_ID" "PORT_CLIENT_SECRET" -}}
{{- else -}}
  {{- $_ := set $data "PORT_CLIENT_ID" (include "action-agent.clientId" .) -}}
  {{- $_ := set $data "PORT_CLIENT_SECRET" (include "action-agent.clientSecret" .) -}}
{{- end -}}
{{- toJson $data }}
{{- end }}

{{/* Only port.existingSecret may have keys of its own: list CONTEXT KEY OUR-KEY. */}}
{{- define "action-agent.credentialsKey" -}}
{{- if (index . 0).Values.port.existingSecret }}{{ index . 1 }}{{ else }}{{ index . 2 }}{{ end }}
{{- end }}

{{/* The key of extra CAs, and so their file's name; empty: there are none. */}}
{{- define "action-agent.caKey" -}}
{{- if or .Values.extraCA.configMap .Values.extraCA.secret }}
{{- .Values.extraCA.key }}
{{- else if .Values.selfSignedCertificate.enabled }}
{{- with .Values.selfSignedCertificate.secret }}{{ ternary .key "crt" .useExistingSecret }}{{ end }}
{{- end }}
{{- end }}

{{- define "action-agent.caFile" -}}
{{- with include "action-agent.caKey" . }}/etc/action-agent/ca/{{ . }}{{ end }}
{{- end }}

{{/* The Secret of extra CAs, where they are in no ConfigMap. */}}
{{- define "action-agent.caSecret" -}}
{{- $selfSigned := .Values.selfSignedCertificate.secret -}}
{{- if .Values.extraCA.secret }}
{{- .Values.extraCA.secret }}
{{- else if $selfSigned.useExistingSecret }}
{{- $selfSigned.name }}
{{- else }}
{{- include "action-agent.fullname" . }}-cert
{{- end }}
{{- end }}
